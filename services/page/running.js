// Answers that run: asked for in this tab, or read on after a reload or from another tab.

import { key } from "./gateway.js";
import * as sluice from "./sluice.js";
import * as store from "./store.js";
import { figures } from "./words.js";

const SAVED_EVERY = 2_000;

/** By the id of their conversation. */
const running = new Map();

/** `changed(run)` is called when it has got text or another status, `ended(run, error)` at its end. */
export class Run {
  status = { state: "asking" };
  told = performance.now();
  #abort = new AbortController();
  #saved = 0;
  #began = performance.now();
  #figures = {};

  constructor(conversation, message, handlers) {
    this.conversation = conversation;
    this.message = message;
    this.handlers = handlers;
    running.set(conversation.id, this);
  }

  /** As it was before, if nothing comes of it. */
  before;

  async ask(before, request) {
    this.before = before;
    await this.#read(() => sluice.chat({ ...request, key: key(), signal: this.#abort.signal }));
  }

  async follow() {
    const { location, after } = this.message.running;
    await this.#read(() => sluice.follow({ location, after, key: key(), signal: this.#abort.signal }));
  }

  /** It cannot be read on. */
  interrupted() {
    this.#end(new sluice.SluiceError("", { code: "connection_lost" }));
  }

  stop() {
    this.#abort.abort();
  }

  /** Another tab has ended or removed it. */
  forget() {
    running.delete(this.conversation.id);
    this.handlers = { changed() {}, ended() {} };
  }

  save() {
    if (running.get(this.conversation.id) !== this) return;
    this.#saved = performance.now();
    store.save(this.conversation);
  }

  figures() {
    return figures(this.#figures);
  }

  async #read(begin) {
    try {
      for await (const event of begin()) this.#take(event);
      this.#end();
    } catch (error) {
      this.#end(error);
    }
  }

  #take(event) {
    const { message } = this;
    if (event.type === "accepted") {
      message.running.location = event.location;
      this.#tell({ state: "accepted" });
      this.save();
    } else if (event.type === "status") {
      if (event.server) this.#figures.server = event.server;
      this.#tell(event);
    } else if (event.type === "reconnecting") {
      this.#tell({ ...event, state: "reconnecting" });
    } else if (event.type === "resumed") {
      this.#tell({ state: "accepted" });
    } else {
      if (event.type === "chunk") this.#add(event);
      else Object.assign(this.#figures, event.stats);
      if (event.id) message.running.after = event.id;
    }
  }

  #tell(status) {
    this.status = status;
    this.told = performance.now();
    this.handlers.changed(this, "", "");
  }

  #add({ text, thinking }) {
    const { message } = this;
    const now = performance.now();
    message.content += text;
    if (thinking) message.thinking = (message.thinking ?? "") + thinking;
    if (this.before && this.#figures.firstTokenSeconds === undefined && (text || thinking)) {
      this.#figures.firstTokenSeconds = (now - this.#began) / 1000;
    }
    if (!["answering", "not_resumable"].includes(this.status.state)) this.status = { state: "answering" };
    this.handlers.changed(this, text, thinking);
    if (now - this.#saved > SAVED_EVERY) this.save();
  }

  #end(error) {
    if (running.get(this.conversation.id) !== this) return;
    running.delete(this.conversation.id);
    delete this.message.running;
    this.message.figures = this.figures();
    this.handlers.ended(this, error?.name === "AbortError" ? null : error);
  }
}

export function runOf(conversation) {
  return running.get(conversation.id);
}

// What is here is kept, and the answer goes on without the page.
for (const [target, name] of [[window, "pagehide"], [document, "visibilitychange"]]) {
  target.addEventListener(name, () => {
    for (const run of running.values()) run.save();
  });
}
