// Markdown within a line: code, bold, italic, links. Makes elements and text nodes, never HTML.

const LINK = /\[([^[\]\n]{1,300})\]\((https?:\/\/(?:[^\s()<>]|\([^\s()<>]*\)){1,2000})\)/y;
const ADDRESS = /https?:\/\/[^\s<>"'`*[\]]{0,2000}[^\s<>"'`*[\]().,:;!?]/y;
const MARK = /[\\`*_[]|https?:/g;
const WORD = /[\p{L}\p{N}]/u;
const MOST_NESTED = 4;

/**
 * Show `text` in `element`, and leave its nodes as they are up to where they differ.
 *
 * @param {Element} element
 * @param {string} text
 */
export function showInline(element, text) {
  const nodes = inline(text, 0);
  const shown = element.childNodes;
  let same = 0;
  while (same < nodes.length && same < shown.length && shown[same].isEqualNode(nodes[same])) same++;
  const [old, now] = [shown[same], nodes[same]];
  if (same === shown.length - 1 && old instanceof Text && now instanceof Text && now.data.startsWith(old.data)) {
    old.appendData(now.data.slice(old.data.length));
    same++;
  }
  while (shown.length > same) element.lastChild?.remove();
  element.append(...nodes.slice(same));
}

/**
 * @param {string} text
 * @param {number} depth
 * @returns {Node[]}
 */
function inline(text, depth) {
  /** @type {Node[]} */
  const nodes = [];
  /** Marks without an end, which need not be looked for again. @type {Set<string>} */
  const unended = new Set();
  let plain = "";
  let at = 0;

  /** @param {Node} node @param {number} next */
  function add(node, next) {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
    nodes.push(node);
    at = next;
  }

  while (at < text.length) {
    MARK.lastIndex = at;
    const next = MARK.exec(text)?.index ?? text.length;
    plain += text.slice(at, next);
    at = next;
    const mark = text[at];
    if (!mark) break;
    if (mark === "\\" && "*_`".includes(text[at + 1] || " ")) {
      plain += text[at + 1];
      at += 2;
    } else if (mark === "`" || mark === "*" || mark === "_") {
      const run = runOf(text, at);
      const end = unended.has(run) ? -1 : endOf(text, at, run);
      const inner = text.slice(at + run.length, end);
      if (end < 0 || (mark !== "`" && (run.length > 3 || depth === MOST_NESTED))) {
        if (end < 0 && opens(text, at, run)) unended.add(run);
        plain += run;
        at += run.length;
      } else if (mark === "`") {
        add(make("code", inner.replace(/^ (.*[^ ].*) $/s, "$1")), end + run.length);
      } else {
        const content = inline(inner, depth + 1);
        const strong = run.length > 1 ? make("strong", ...content) : null;
        add(run.length === 2 && strong ? strong : make("em", ...(strong ? [strong] : content)), end + run.length);
      }
    } else {
      const pattern = mark === "[" ? LINK : ADDRESS;
      pattern.lastIndex = at;
      const found = mark === "[" || !WORD.test(text[at - 1] ?? " ") ? pattern.exec(text) : null;
      if (found) {
        add(link(found[2] ?? found[0], found[1] ?? found[0]), pattern.lastIndex);
      } else {
        plain += mark;
        at++;
      }
    }
  }
  if (plain) nodes.push(document.createTextNode(plain));
  return nodes;
}

/** @param {string} text @param {number} at */
function runOf(text, at) {
  let end = at;
  while (text[end] === text[at]) end++;
  return text.slice(at, end);
}

/**
 * Whether `run` may begin something.
 *
 * @param {string} text
 * @param {number} at
 * @param {string} run
 */
function opens(text, at, run) {
  if (run[0] === "`") return true;
  return /\S/.test(text[at + run.length] ?? " ") && !(run[0] === "_" && WORD.test(text[at - 1] ?? " "));
}

/**
 * Where the same run ends what the one at `at` begins; -1: nowhere.
 *
 * @param {string} text
 * @param {number} at
 * @param {string} run
 */
function endOf(text, at, run) {
  if (!opens(text, at, run)) return -1;
  for (let end = text.indexOf(run, at + run.length); end >= 0; ) {
    const found = runOf(text, end);
    const closes = run[0] === "`" || (/\S/.test(text[end - 1]) && !(run[0] === "_" && WORD.test(text[end + run.length] ?? " ")));
    if (found === run && closes) return end;
    end = text.indexOf(run, end + found.length);
  }
  return -1;
}

/** @param {string} address @param {string} text */
function link(address, text) {
  const element = document.createElement("a");
  element.href = address;
  element.rel = "noopener noreferrer";
  element.target = "_blank";
  element.title = address;
  element.textContent = text;
  return element;
}

/** @param {string} name @param {(Node | string)[]} content */
function make(name, ...content) {
  const element = document.createElement(name);
  element.append(...content);
  return element;
}
