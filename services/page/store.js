// Conversations, kept in this browser only: each under a key of its own, so that tabs do not overwrite each other's.

const PREFIX = "sluice.conversation.";
const LONGEST_TITLE = 80;

/**
 * @typedef {{role: "user" | "assistant", id: string, content: string, thinking?: string, model?: string,
 *   figures?: string, note?: string, running?: {location: string | null, after: number}}} Message
 *   `running`: an answer that has not ended, and the event up to which it is here
 * @typedef {{model?: string, system: string, options: Record<string, number>, think: string}} Settings
 * @typedef {Settings & {id: string, title: string, at: number, messages: Message[]}} Conversation
 */

/** @type {Map<string, Conversation>} */
const conversations = new Map();

/** Called with the id of a conversation that another tab has changed. @type {(id: string) => void} */
let changed = () => {};

/** Called with words when a conversation cannot be saved. @type {(words: string) => void} */
let failed = () => {};

/**
 * @param {typeof changed} whenChanged
 * @param {typeof failed} whenFailed
 */
export function open(whenChanged, whenFailed) {
  changed = whenChanged;
  failed = whenFailed;
  try {
    for (const key of Object.keys(localStorage)) take(key, localStorage.getItem(key));
  } catch {
    failed("This browser does not let the page keep anything: conversations are lost when the page is closed.");
  }
  addEventListener("storage", ({ key, newValue }) => {
    if (key) take(key, newValue);
    else conversations.clear();
    changed(key?.slice(PREFIX.length) ?? "");
  });
}

/** @param {string} key @param {string | null} text */
function take(key, text) {
  if (!key.startsWith(PREFIX)) return;
  const id = key.slice(PREFIX.length);
  try {
    const value = JSON.parse(text ?? "null");
    if (Array.isArray(value?.messages)) conversations.set(id, value);
    else conversations.delete(id);
  } catch {
    conversations.delete(id);
  }
}

/** The latest first. */
export function all() {
  return [...conversations.values()].sort((one, other) => other.at - one.at);
}

/** @param {string} id */
export function get(id) {
  return conversations.get(id);
}

/** A new conversation, which is kept once something is said in it. @param {Settings} settings @returns {Conversation} */
export function create({ model, system, options, think }) {
  return { id: newId(), title: "", at: Date.now(), model, system, options: { ...options }, think, messages: [] };
}

/** @param {Conversation} conversation */
export function save(conversation) {
  conversations.set(conversation.id, conversation);
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
  } catch {
    failed(
      "This conversation is not saved any more, because the browser's storage is full. " +
        "Export it, or delete conversations that you do not need.",
    );
  }
}

/** @param {string} id */
export function remove(id) {
  conversations.delete(id);
  try {
    localStorage.removeItem(PREFIX + id);
  } catch {
    // Nothing is kept.
  }
}

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text */
export function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > LONGEST_TITLE ? `${line.slice(0, LONGEST_TITLE - 1)}…` : line;
}

/** The request for the next answer. @param {Conversation} conversation */
export function requestFor({ model = "", system, options, think, messages }) {
  const said = messages.filter(({ content, running }) => content && !running);
  return {
    model,
    messages: [
      ...(system.trim() ? [{ role: "system", content: system }] : []),
      ...said.map(({ role, content }) => ({ role, content })),
    ],
    ...(Object.keys(options).length ? { options } : {}),
    ...(think ? { think: think === "on" } : {}),
  };
}

/** @param {Conversation} conversation */
export function asJson(conversation) {
  return `${JSON.stringify({ title: conversation.title, ...requestFor(conversation) }, null, 2)}\n`;
}

/** @param {Conversation} conversation */
export function asMarkdown({ title, system, messages }) {
  const parts = [`# ${title}`];
  if (system.trim()) parts.push("## System", system);
  for (const { role, model, content } of messages) parts.push(`## ${role === "user" ? "You" : model ?? "Answer"}`, content);
  return `${parts.join("\n\n")}\n`;
}
