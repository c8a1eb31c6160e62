// Shows an answer as it comes: paragraphs, headings, lists, tables as they are written, and code that can be copied.
// What a line is, is decided once, as soon as its beginning is certain, so that new text changes the last block only.

import { Code } from "./code.js";
import { showInline } from "./inline.js";

// A longer paragraph goes on in another element, because the whole element is laid out anew for each token.
const LONGEST_PARAGRAPH = 4_000;

// The rest of a longer answer is shown as plain text.
const LONGEST_FORMATTED = 100_000;

const HEADING = /^ {0,3}(#{1,6}) +(.*)$/s;
const ITEM = /^( *)([-*+]|(\d{1,9})[.)]) +(.*)$/s;
const RULE = /^ {0,3}([-*_])\1{2,99} *$/;
const FENCE = /^( *)(`{3,}|~{3,})([^`]{0,100})$/;

// Beginnings of a line that may become one of these.
const UNDECIDED = /^ *(?:(?:-*|\**|_*) *|[-*+] +|#{1,6} *|\d{1,9}[.)]? *|`{0,2}|(?:`{3,}|~{3,})[^`]{0,100})$/;
const LONGEST_UNDECIDED = 200;

/** Text that is still written. */
class Prose {
  isDirty = false;

  /** @param {HTMLElement} element @param {string} text */
  constructor(element, text) {
    this.element = element;
    this.text = "";
    this.add(text);
  }

  /** @param {string} text */
  add(text) {
    this.text += text;
    this.isDirty = true;
    while (this.text.length > LONGEST_PARAGRAPH) {
      const space = this.text.lastIndexOf(" ", LONGEST_PARAGRAPH);
      const cut = space > LONGEST_PARAGRAPH / 2 ? space + 1 : LONGEST_PARAGRAPH;
      showInline(this.element, this.text.slice(0, cut));
      const next = block(this.element.localName, "more");
      this.element.after(next);
      this.element = next;
      this.text = this.text.slice(cut);
    }
  }

  show() {
    if (this.isDirty) showInline(this.element, this.text);
    this.isDirty = false;
  }
}

export class Markdown {
  /** @type {Prose | Code | null} */
  #open = null;
  /** @type {Prose[]} */
  #written = [];
  /** Open lists, the innermost last. @type {{indent: number, list: HTMLElement, item: HTMLElement}[]} */
  #lists = [];
  #line = "";
  #isDecided = false;
  #length = 0;
  #level = 2;
  /** @type {Text | null} */
  #plain = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
  }

  /** @param {string} text */
  append(text) {
    const left = Math.max(LONGEST_FORMATTED - this.#length, 0);
    this.#length += text.length;
    const formatted = text.slice(0, left).replaceAll("\r", "");
    for (let start = 0; start < formatted.length; ) {
      const end = formatted.indexOf("\n", start);
      this.#add(formatted.slice(start, end < 0 ? undefined : end), end >= 0);
      start = end < 0 ? formatted.length : end + 1;
    }
    if (text.length > left) this.#addPlain(text.slice(left));
    this.#show();
  }

  /** Nothing follows. */
  end() {
    if (this.#line) this.#begin(this.#line);
    this.#line = "";
    this.#close();
    this.#show();
  }

  #show() {
    if (this.#open) this.#open.show();
    for (const prose of this.#written) prose.show();
    this.#written = [];
  }

  /** @param {string} piece @param {boolean} isEnded  whether the line ends after it */
  #add(piece, isEnded) {
    if (this.#isDecided) {
      this.#open?.add(piece);
    } else {
      this.#line += piece;
      const isOpen = this.#open instanceof Code ? this.#open.mayEndWith(this.#line) : UNDECIDED.test(this.#line);
      if (!isEnded && isOpen && this.#line.length < LONGEST_UNDECIDED) return;
      this.#begin(this.#line);
      this.#line = "";
      this.#isDecided = true;
    }
    if (isEnded) {
      this.#isDecided = false;
      if (this.#open instanceof Prose && /^h\d$/.test(this.#open.element.localName)) this.#close();
    }
  }

  /** @param {string} line  a line, or its beginning */
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
      this.#place(0).append(document.createElement("hr"), "\n");
    } else if (fence) {
      const code = new Code(fence[1].length, fence[2], fence[3].trim());
      this.#place(indent).append(code.element, "\n");
      this.#open = code;
    } else if (heading) {
      // No level may be left out, for those who move from heading to heading.
      this.#level = Math.min(heading[1].length + 2, this.#level + 1, 6);
      this.#write(`h${this.#level}`, this.#place(0), heading[2]);
    } else if (item) {
      this.#beginItem(item[1].length, item[3], item[4]);
    } else if (this.#open) {
      this.#open.add(`\n${line.trimStart()}`);
    } else if (line.startsWith("|")) {
      this.#write("pre", this.#place(0), line);
    } else {
      this.#write("p", this.#place(indent), line.trimStart());
    }
  }

  /** @param {number} indent @param {string | undefined} number @param {string} text */
  #beginItem(indent, number, text) {
    this.#close();
    const name = number === undefined ? "ul" : "ol";
    while (this.#lists.length && this.#lists[this.#lists.length - 1].indent > indent) this.#lists.pop();
    let level = this.#lists[this.#lists.length - 1];
    const isSameLevel = level && indent - level.indent < 2;
    if (level && isSameLevel && level.list.localName !== name) this.#lists.pop();
    if (!level || !isSameLevel || level.list.localName !== name) {
      const parent = this.#lists[this.#lists.length - 1]?.item ?? this.root;
      level = { indent, list: document.createElement(name), item: this.root };
      parent.append(level.list, "\n");
      this.#lists.push(level);
    }
    const item = document.createElement("li");
    if (number !== undefined) item.value = Number(number);
    item.dir = "auto";
    level.item = item;
    level.list.append(item, "\n");
    this.#write("p", item, text);
  }

  /**
   * Where a block with this indent belongs: the item of a list, or the answer itself, which ends all lists.
   *
   * @param {number} indent
   */
  #place(indent) {
    this.#close();
    while (this.#lists.length && this.#lists[this.#lists.length - 1].indent + 2 > indent) this.#lists.pop();
    return this.#lists[this.#lists.length - 1]?.item ?? this.root;
  }

  /** @param {string} name @param {HTMLElement} parent @param {string} text */
  #write(name, parent, text) {
    const element = block(name, "");
    parent.append(element, "\n");
    this.#open = new Prose(element, text);
  }

  #close() {
    if (this.#open instanceof Prose) this.#written.push(this.#open);
    else this.#open?.show();
    this.#open = null;
  }

  /** @param {string} text */
  #addPlain(text) {
    this.end();
    for (let start = 0; start < text.length; ) {
      if (!this.#plain || this.#plain.length >= LONGEST_PARAGRAPH) {
        const element = block("div", "plain");
        this.#plain = document.createTextNode("");
        element.append(this.#plain);
        this.root.append(element);
      }
      const piece = text.slice(start, start + LONGEST_PARAGRAPH - this.#plain.length);
      this.#plain.appendData(piece);
      start += piece.length;
    }
  }
}

/** @param {string} name @param {string} className */
function block(name, className) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.dir = "auto";
  return element;
}
