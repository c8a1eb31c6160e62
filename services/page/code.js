// A block of code in an answer, with a button that copies it.

import { copy } from "./clipboard.js";

// As with paragraphs, only the last part is laid out anew.
const LONGEST_PART = 4_000;

export class Code {
  text = "";
  #shown = 0;
  #isFirstLine = true;

  /** @param {number} indent @param {string} fence @param {string} language */
  constructor(indent, fence, language) {
    this.indent = indent;
    this.fence = fence;
    this.element = document.createElement("div");
    this.element.className = "code";
    const bar = document.createElement("div");
    bar.className = "bar";
    const name = document.createElement("bdi");
    name.textContent = language.slice(0, 100);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => copy(this.text, button));
    bar.append(name, button);
    const pre = document.createElement("pre");
    pre.tabIndex = 0; // so that the keyboard scrolls it
    pre.dir = "ltr";
    this.code = document.createElement("code");
    pre.append(this.code);
    this.element.append(bar, pre);
    this.part = this.#newPart();
  }

  /** @param {string} line  the beginning of one */
  mayEndWith(line) {
    return line.length < 100 && /^ *(`*|~*) *$/.test(line);
  }

  /** @param {string} line */
  endsWith(line) {
    const found = line.trim();
    return found.length >= this.fence.length && found === this.fence[0].repeat(found.length);
  }

  /** @param {string} line */
  beginLine(line) {
    if (!this.#isFirstLine) this.text += "\n";
    this.#isFirstLine = false;
    const spaces = Math.min(line.search(/[^ ]|$/), this.indent);
    this.text += line.slice(spaces);
  }

  /** @param {string} text */
  add(text) {
    this.text += text;
  }

  show() {
    while (this.#shown < this.text.length) {
      const room = LONGEST_PART - this.part.data.length;
      const end = this.text.indexOf("\n", this.#shown + Math.max(room, 0));
      const isFull = end >= 0 && this.text.length - this.#shown > room;
      const next = isFull ? end + 1 : this.text.length;
      this.part.appendData(this.text.slice(this.#shown, next));
      this.#shown = next;
      if (isFull) this.part = this.#newPart();
    }
  }

  #newPart() {
    const part = document.createElement("span");
    const text = document.createTextNode("");
    part.append(text);
    this.code.append(part);
    return text;
  }
}
