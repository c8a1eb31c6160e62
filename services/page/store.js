// Conversations, kept in this browser only: each under a key of its own, so that tabs do not overwrite each other's.
// An answer that runs has `running`: its location, and the event `after` which to go on.

const PREFIX = "sluice.conversation.";

const conversations = new Map();
let failed;

/** `changed` is told the id of what another tab has changed, `whenFailed` why nothing can be saved. */
export function open(changed, whenFailed) {
	failed = whenFailed;
	try {
		for (const [key, text] of Object.entries(localStorage)) take(key, text);
	} catch {
		failed("This browser keeps nothing: conversations are lost when the page is closed.");
	}
	addEventListener("storage", ({ key, newValue }) => {
		if (key?.startsWith(PREFIX)) changed(take(key, newValue));
	});
}

function take(key, text) {
	if (!key.startsWith(PREFIX)) return;
	const id = key.slice(PREFIX.length);
	if (text) conversations.set(id, JSON.parse(text));
	else conversations.delete(id);
	return id;
}

/** The latest first. */
export const all = () => [...conversations.values()].sort((one, other) => other.at - one.at);

export const get = (id) => conversations.get(id);

/** It is kept once something is said in it. */
export function create({ model, system, think, options }) {
	return { id: newId(), title: "", at: Date.now(), model, system, think, options, messages: [] };
}

export function save(conversation) {
	conversations.set(conversation.id, conversation);
	try {
		localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
	} catch {
		failed("This conversation is not saved, because the browser's storage is full. Export it, or delete others.");
	}
}

export function remove({ id }) {
	conversations.delete(id);
	localStorage.removeItem(PREFIX + id);
}

export const newId = () => crypto.getRandomValues(new Uint32Array(2)).join("");

/** The request for the next answer. */
export function requestFor({ model, system, think, options, messages }) {
	const said = messages.filter(({ content }) => content).map(({ role, content }) => ({ role, content }));
	if (system) said.unshift({ role: "system", content: system });
	return { model, messages: said, options, ...(think && { think: think === "on" }) };
}

export function asJson(conversation) {
	return JSON.stringify({ title: conversation.title, ...requestFor(conversation) }, null, 2);
}

export function asMarkdown({ title, system, messages }) {
	const said = messages.map(({ role, model, content }) => `## ${role === "user" ? "You" : model}\n\n${content}\n`);
	if (system) said.unshift(`## System prompt\n\n${system}\n`);
	return [`# ${title}\n`, ...said].join("\n");
}
