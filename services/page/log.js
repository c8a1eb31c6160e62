// Shows a conversation: its questions and answers.

import { $, button, make } from "./dom.js";
import { Markdown } from "./markdown.js";

// Often enough to look continuous.
const MILLISECONDS = 60;

/** `edit` and `again`, which get a message. */
export const actions = {};

const scroller = $("scroller");
let isAtEnd = true;
scroller.onscroll = () => {
	isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
};

function keepUp() {
	if (isAtEnd) scroller.scrollTop = scroller.scrollHeight;
}

class Answer {
	#text = make("div", { className: "text" });
	#markdown = new Markdown(this.#text);
	#thinking;
	#new = ["", ""];
	#timer;
	#shownAt = -Infinity;

	constructor(message) {
		this.message = message;
		this.element = make("article", { className: "answer" }, make("h2", { dir: "auto" }, message.model), this.#text);
		this.add(message.content, message.thinking);
		if (!message.running) this.end();
	}

	add(text, thinking = "") {
		this.#new[0] += text;
		this.#new[1] += thinking;
		const left = this.#shownAt + MILLISECONDS - performance.now();
		if (left <= 0) this.#show();
		else this.#timer ??= setTimeout(() => requestAnimationFrame(() => this.#show()), left);
	}

	end() {
		this.#show();
		this.#markdown.end();
		const { note = "" } = this.message;
		this.element.append(
			make("p", { className: "quiet", dir: "auto" }, note),
			make("div", { className: "tools" }, button("Ask again", "again", () => actions.again(this.message))));
		keepUp();
	}

	#show() {
		clearTimeout(this.#timer);
		const [text, thinking] = this.#new;
		this.#new = ["", ""];
		this.#timer = undefined;
		this.#shownAt = performance.now();
		if (thinking && !this.#thinking) {
			this.#thinking = make("div", { className: "text unformatted", dir: "auto" });
			this.#text.before(make("details", {}, make("summary", {}, "Thinking"), this.#thinking));
		}
		this.#thinking?.append(thinking);
		this.#markdown.append(text);
		keepUp();
	}
}

function question(message) {
	return make("article", { className: "question" },
		make("h2", { className: "hidden" }, "You"),
		make("div", { className: "text unformatted", dir: "auto" }, message.content),
		make("div", { className: "tools" }, button("Edit", "edit", () => actions.edit(message))));
}

/** Show `messages`; returns the answer to which text can be added, if one runs. */
export function show(messages) {
	let running;
	$("conversation").replaceChildren(...messages.map((message) => {
		if (message.role === "user") return question(message);
		const answer = new Answer(message);
		if (message.running) running = answer;
		return answer.element;
	}));
	$("empty").hidden = messages.length > 0;
	isAtEnd = true;
	keepUp();
	return running;
}
