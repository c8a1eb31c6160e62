// A block of code in an answer.

import { copy } from "./clipboard.js";
import { button, make } from "./dom.js";

export class Code {
	text = "";
	#shown = document.createTextNode("");
	#isEmpty = true;

	constructor(indent, fence, language) {
		this.indent = indent;
		this.fence = fence;
		this.element = make("div", { className: "code" },
			make("div", { className: "bar" }, make("bdi", {}, language), button("Copy", "copy", ({ target }) => copy(this.text, target))),
			make("pre", { tabIndex: 0, dir: "ltr" }, make("code", {}, this.#shown))); // focus lets the keyboard scroll it
	}

	mayEndWith(line) {
		return /^ {0,99}(`{0,99}|~{0,99}) *$/.test(line);
	}

	endsWith(line) {
		const found = line.trim();
		return found.length >= this.fence.length && found === this.fence[0].repeat(found.length);
	}

	beginLine(line) {
		const spaces = Math.min(line.search(/[^ ]|$/), this.indent);
		this.text += (this.#isEmpty ? "" : "\n") + line.slice(spaces);
		this.#isEmpty = false;
	}

	add(text) {
		this.text += text;
	}

	show() {
		this.#shown.appendData(this.text.slice(this.#shown.length));
	}
}
