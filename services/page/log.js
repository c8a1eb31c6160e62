// Shows a conversation: its questions and answers.

import { copy } from "./clipboard.js";
import { $, button, make } from "./dom.js";
import { Markdown } from "./markdown.js";

// Often enough to look continuous. Each time, the browser lays out and paints the end of the answer.
const MILLISECONDS = 60;

/** Actions of the buttons: `edit` and `again`, with a message. */
export const actions = {};

let follows = true;
const scroller = $("scroller");
scroller.addEventListener("scroll", () => {
  follows = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
}, { passive: true });

export function scrollDown() {
  follows = true;
  keepUp();
}

function keepUp() {
  if (follows) scroller.scrollTop = scroller.scrollHeight;
}

/** An answer, to which text may be added. */
export class Answer {
  #text;
  #markdown;
  #thinking;
  #waiting = { text: "", thinking: "" };
  #timer;
  #shownAt = -Infinity;

  constructor(message) {
    this.message = message;
    this.#text = make("div", { className: "text" });
    this.#markdown = new Markdown(this.#text);
    this.element = make("article", { className: "answer" }, make("h2", { dir: "auto" }, message.model ?? "Answer"), this.#text);
    if (message.thinking) this.add("", message.thinking);
    if (message.content) this.add(message.content, "");
    if (!message.running) this.end();
  }

  add(text, thinking) {
    this.#waiting.text += text;
    this.#waiting.thinking += thinking;
    const left = this.#shownAt + MILLISECONDS - performance.now();
    if (left <= 0) this.#show();
    else this.#timer ??= setTimeout(() => requestAnimationFrame(() => this.#show()), left);
  }

  end() {
    this.#show();
    this.#markdown.end();
    const { message } = this;
    if (message.note) this.element.append(make("p", { className: "note", dir: "auto" }, message.note));
    const tools = make("div", { className: "tools" });
    if (message.content) tools.append(button("Copy answer", "copy-answer", () => copy(message.content, tools.firstChild)));
    tools.append(button("Ask again", "again", () => actions.again(message)));
    this.element.append(tools);
    keepUp();
  }

  #show() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { text, thinking } = this.#waiting;
    this.#waiting = { text: "", thinking: "" };
    this.#shownAt = performance.now();
    if (thinking) this.#think(thinking);
    if (text) this.#markdown.append(text);
    keepUp();
  }

  #think(text) {
    if (!this.#thinking) {
      this.#thinking = make("div", { className: "text plain", dir: "auto" });
      this.#text.before(make("details", { className: "thinking" }, make("summary", {}, "Thinking"), this.#thinking));
    }
    this.#thinking.append(text);
  }
}

function question(message) {
  return make("article", { className: "question" },
    make("h2", { className: "hidden" }, "You"),
    make("div", { className: "text", dir: "auto" }, message.content),
    make("div", { className: "tools" }, button("Edit", "edit", () => actions.edit(message))));
}

/** Show `messages`; returns the answer that still runs, if there is one. */
export function show(messages) {
  let running;
  $("conversation").replaceChildren(...messages.map((message) => {
    if (message.role === "user") return question(message);
    const answer = new Answer(message);
    if (message.running) running = answer;
    return answer.element;
  }));
  $("empty").hidden = messages.length > 0;
  scrollDown();
  return running;
}
