// Shows an answer as it comes: paragraphs, headings, lists, and code that can be copied. What a line is, is decided
// once, as soon as its beginning is certain: new text changes the last block only.

import { Code } from "./code.js";
import { make } from "./dom.js";
import { inline } from "./inline.js";

// A longer paragraph goes on in another element: an element is laid out as a whole for each token.
const LONGEST_PARAGRAPH = 2_000;

// The rest of a longer answer is shown as plain text. Each block counts as so many characters more.
const LONGEST_FORMATTED = 200_000;
const BLOCK = 100;

const HEADING = /^ {0,3}(#{1,6}) +(.*)$/s;
const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)]) +(.*)$/s;
const RULE = /^ {0,3}([-*_])\1{2,99} *$/;
const FENCE = /^( *)(`{3,20}|~{3,20})([^`]{0,100})$/;

// What may become one of these.
const UNDECIDED = /^ {0,99}(?:(?:-{0,99}|\*{0,99}|_{0,99}) ?|\+ ?|#{1,6} ?|\d{1,9}[.)]? ?|`{0,2}|(?:`{3,20}|~{3,20})[^`]{0,100})$/;

class Prose {
	nodes = inline;
	text = "";

	constructor(element, text) {
		this.element = element;
		this.add(text);
	}

	add(text) {
		this.text += text;
		while (this.text.length > LONGEST_PARAGRAPH) {
			const space = this.text.lastIndexOf(" ", LONGEST_PARAGRAPH) + 1;
			const cut = space > LONGEST_PARAGRAPH / 2 ? space : LONGEST_PARAGRAPH;
			this.element.replaceChildren(...this.nodes(this.text.slice(0, cut)));
			this.text = this.text.slice(cut);
			const next = make(this.element.localName, { className: "more", dir: "auto" });
			this.element.after(next);
			this.element = next;
		}
	}

	show() {
		this.element.replaceChildren(...this.nodes(this.text));
	}
}

export class Markdown {
	#open; // the block that is still written
	#items = []; // of lists, each within the one before
	#line = ""; // what is not decided
	#isDecided = false;
	#left = LONGEST_FORMATTED;
	#level = 2;
	#isRest = false;

	constructor(root) {
		this.root = root;
	}

	append(text) {
		let start = 0;
		while (start < text.length && this.#left > 0) {
			const end = text.indexOf("\n", start);
			const cut = Math.min(end < 0 ? text.length : end, start + this.#left);
			this.#add(text.slice(start, cut), cut === end);
			const next = cut === end ? cut + 1 : cut;
			this.#left -= next - start;
			start = next;
		}
		if (start < text.length) this.#addRest(text.slice(start));
		this.#open?.show();
	}

	/** Nothing follows. */
	end() {
		if (this.#line) this.#begin(this.#line);
		this.#line = "";
		this.#close();
	}

	#add(piece, isEnded) {
		if (this.#isDecided) {
			this.#open?.add(piece);
		} else {
			this.#line += piece;
			const isOpen = this.#open instanceof Code ? this.#open.mayEndWith(this.#line) : UNDECIDED.test(this.#line);
			if (!isEnded && isOpen) return;
			this.#begin(this.#line.replace(/\r$/, ""));
			this.#line = "";
		}
		this.#isDecided = !isEnded;
		if (isEnded && /^h\d$/.test(this.#open?.element.localName)) this.#close();
	}

	#begin(line) {
		if (this.#open instanceof Code) {
			if (this.#open.endsWith(line)) this.#close();
			else this.#open.beginLine(line);
			return;
		}
		const indent = line.search(/[^ ]|$/);
		const heading = HEADING.exec(line);
		const item = ITEM.exec(line);
		const fence = FENCE.exec(line);
		if (!line.trim()) {
			this.#close();
		} else if (RULE.test(line)) {
			this.#put(this.#place(0), make("hr"));
		} else if (fence) {
			const code = new Code(fence[1].length, fence[2], fence[3].trim());
			this.#put(this.#place(indent), code.element);
			this.#open = code;
		} else if (heading) {
			// No level may be left out, for those who go from heading to heading.
			this.#level = Math.min(heading[1].length + 2, this.#level + 1, 6);
			this.#write(`h${this.#level}`, this.#place(0), heading[2]);
		} else if (item) {
			this.#write("p", this.#item(item[1].length, item[2]), item[3]);
		} else if (this.#open) {
			this.#open.add(`\n${line.trimStart()}`);
		} else {
			this.#write("p", this.#place(indent), line.trimStart());
		}
	}

	#item(indent, number) {
		const name = number ? "ol" : "ul";
		const parent = this.#place(indent);
		const last = parent.lastElementChild;
		const list = last?.localName === name ? last : make(name);
		if (list !== last) this.#put(parent, list);
		const item = make("li", { dir: "auto" });
		if (number) item.value = number;
		this.#put(list, item);
		this.#items.push({ indent, item });
		return item;
	}

	/** Where a block with this indent belongs: an item of a list, or the answer itself. */
	#place(indent) {
		this.#close();
		while (this.#items.at(-1)?.indent > indent - 2) this.#items.pop();
		return this.#items.at(-1)?.item ?? this.root;
	}

	#write(name, parent, text) {
		const element = make(name, { dir: "auto" });
		this.#put(parent, element);
		this.#open = new Prose(element, text);
	}

	/** The line end separates words where the text is read or copied without its elements. */
	#put(parent, element) {
		this.#left -= BLOCK;
		parent.append(element, "\n");
	}

	#close() {
		this.#open?.show();
		this.#open = undefined;
	}

	/** Of an answer that is too long. */
	#addRest(text) {
		if (!this.#isRest) {
			this.end();
			this.#write("p", this.root, "");
			this.#open.nodes = (plain) => [plain];
			this.#isRest = true;
		}
		this.#open.add(text);
	}
}
