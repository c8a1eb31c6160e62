// Answers that run: asked for in this tab, or read on after a reload or beside another tab.

import { key } from "./gateway.js";
import { chat, follow } from "./sluice.js";
import * as store from "./store.js";
import { figures } from "./words.js";

const SAVED_EVERY = 5_000;

const running = new Map(); // by the id of their conversation

export const runOf = ({ id }) => running.get(id);

/** `changed(run, text, thinking)` is called with what is new, `ended(run, error)` at the end. */
export class Run {
	status = { state: "asked" };
	told = performance.now();
	#abort = new AbortController();
	#figures = {};
	#saved = 0;

	constructor(conversation, message, changed, ended) {
		Object.assign(this, { conversation, message, changed, ended });
		running.set(conversation.id, this);
	}

	ask(request) {
		this.isOwn = true; // other tabs cannot end it
		this.#read(chat({ ...request, resume: 300, key: key(), signal: this.#abort.signal }));
	}

	goOn() {
		const { location, after } = this.message.running;
		this.#read(follow({ location, after, key: key(), signal: this.#abort.signal }));
	}

	stop() {
		this.#abort.abort();
	}

	forget() {
		running.delete(this.conversation.id);
		this.changed = () => {};
		this.stop();
	}

	#save() {
		this.#saved = performance.now();
		if (this.message.running.location && runOf(this.conversation) === this) store.save(this.conversation);
	}

	/** The page is left: the answer goes on without it, if it is kept. */
	leave() {
		this.ended = () => {};
		if (!this.message.running.location) delete this.message.running;
		store.save(this.conversation);
	}

	get figures() {
		return figures(this.#figures);
	}

	async #read(events) {
		try {
			for await (const event of events) this.#take(event);
			this.#end();
		} catch (error) {
			this.#end(error.name === "AbortError" ? undefined : error);
		}
	}

	#take({ type, ...event }) {
		const { message } = this;
		if (event.id) message.running.after = event.id;
		if (type === "chunk") {
			message.content += event.text;
			if (event.thinking) message.thinking = (message.thinking ?? "") + event.thinking;
			if (!["writing", "not_resumable"].includes(this.status.state)) this.#tell({ state: "writing" });
			this.changed(this, event.text, event.thinking);
			if (performance.now() - this.#saved > SAVED_EVERY) this.#save();
		} else if (type === "done") {
			Object.assign(this.#figures, event.stats);
		} else {
			if (event.server) this.#figures.server = event.server;
			if (type === "accepted") message.running.location = event.location;
			if (type === "accepted") this.#save();
			this.#tell({ state: type, ...event });
		}
	}

	#tell(status) {
		this.status = status;
		this.told = performance.now();
		this.changed(this);
	}

	#end(error) {
		if (runOf(this.conversation) !== this) return;
		running.delete(this.conversation.id);
		delete this.message.running;
		this.message.figures = this.figures;
		this.ended(this, error);
	}
}

addEventListener("pagehide", () => {
	for (const run of running.values()) run.leave();
});
