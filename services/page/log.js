// Shows a conversation: its questions and answers.

import { $, button, make } from "./dom.js";
import { Markdown } from "./markdown.js";

// Showing text costs as much as 30 tokens.
const MILLISECONDS = 240;

/** `edit` and `again`, which get a message. */
export const actions = {};

const scroller = $("scroller");

const isAtEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;

function scrollToEnd() {
	scroller.scrollTop = scroller.scrollHeight;
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
		const follows = isAtEnd();
		this.#show();
		this.#markdown.end();
		const { note = "" } = this.message;
		this.element.append(
			make("p", { className: "quiet", dir: "auto" }, note),
			make("div", { className: "tools" }, button("Ask again", "again", () => actions.again(this.message))));
		if (follows) scrollToEnd();
	}

	#show() {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#shownAt = performance.now();
		const follows = isAtEnd();
		const [text, thinking] = this.#new;
		this.#new = ["", ""];
		if (thinking && !this.#thinking) {
			this.#thinking = make("div", { className: "text unformatted", dir: "auto" });
			this.#text.before(make("details", {}, make("summary", {}, "Thinking"), this.#thinking));
		}
		this.#thinking?.append(thinking);
		this.#markdown.append(text);
		if (follows) scrollToEnd();
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
	scrollToEnd();
	return running;
}
