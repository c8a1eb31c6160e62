// A block of code in an answer.

import { copy } from "./clipboard.js";
import { button, make } from "./dom.js";

// Only the last part is laid out for each token.
const LONGEST_PART = 4_000;

export class Code {
	text = "";
	#shown = 0;
	#isEmpty = true;

	constructor(indent, fence, language) {
		this.indent = indent;
		this.fence = fence;
		this.code = make("code");
		this.element = make("div", { className: "code" },
			make("div", { className: "bar" }, make("bdi", {}, language), button("Copy", "copy", ({ target }) => copy(this.text, target))),
			make("pre", { tabIndex: 0, dir: "ltr" }, this.code)); // focus lets the keyboard scroll it
		this.#addPart();
	}

	/** @param line  the beginning of one */
	mayEndWith(line) {
		return line.length < 100 && /^ *(`*|~*) *$/.test(line);
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
		while (this.#shown < this.text.length) {
			const end = this.text.indexOf("\n", this.#shown + LONGEST_PART - this.part.length) + 1;
			const next = end || this.text.length;
			this.part.appendData(this.text.slice(this.#shown, next));
			this.#shown = next;
			if (end) this.#addPart();
		}
	}

	#addPart() {
		this.part = document.createTextNode("");
		this.code.append(make("span", {}, this.part));
	}
}
