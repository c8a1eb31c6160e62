// Conversations, kept in this browser only: each under a key of its own, so that tabs do not overwrite each other's.
//
// A conversation has: id, title, at, model, system, think, options, messages. A message has: id, role, content; an
// answer also thinking, model, figures, note, and while it runs `running`: its location, and the event `after` which
// it is to be read on.

const PREFIX = "sluice.conversation.";

const conversations = new Map();
let failed;

/** `changed` is told the id of what another tab has changed, `whenFailed` in words why nothing can be saved. */
export function open(changed, whenFailed) {
	failed = whenFailed;
	try {
		for (const [key, text] of Object.entries(localStorage)) take(key, text);
	} catch {
		failed("This browser keeps nothing for the page: conversations are lost when it is closed.");
	}
	addEventListener("storage", ({ key, newValue }) => {
		if (key?.startsWith(PREFIX)) changed(take(key, newValue));
	});
}

function take(key, text) {
	if (!key.startsWith(PREFIX)) return;
	const id = key.slice(PREFIX.length);
	conversations.delete(id);
	try {
		if (text) conversations.set(id, JSON.parse(text));
	} catch {
		// Not written by this page.
	}
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
	const said = messages.filter(({ content, running }) => content && !running);
	return {
		model,
		messages: [
			...(system ? [{ role: "system", content: system }] : []),
			...said.map(({ role, content }) => ({ role, content })),
		],
		...(Object.keys(options).length ? { options } : {}),
		...(think ? { think: think === "on" } : {}),
	};
}

export function asJson(conversation) {
	return JSON.stringify({ title: conversation.title, ...requestFor(conversation) }, null, 2);
}

export function asMarkdown({ title, system, messages }) {
	const said = messages.map(({ role, model, content }) => `## ${role === "user" ? "You" : model}\n\n${content}\n`);
	return [`# ${title}\n`, ...(system ? [`## System prompt\n\n${system}\n`] : []), ...said].join("\n");
}
