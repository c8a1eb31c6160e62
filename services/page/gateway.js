// The gateway's other endpoints, and the key, which is kept for this tab.

import { errorOf, SluiceError } from "./sluice.js";

const KEY = "sluice.key";

export const key = () => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (text) => sessionStorage.setItem(KEY, text);

/** Throws SluiceError. */
export async function request(path, { method, body, headers = {}, key: sent = key(), signal } = {}) {
	const authorization = sent ? { Authorization: `Bearer ${sent}` } : {};
	const init = { method, body: body && JSON.stringify(body), headers: { ...headers, ...authorization }, signal };
	const response = await fetch(new URL(path, document.baseURI), { ...init, cache: "no-store" }).catch((error) => {
		throw signal?.aborted ? error : new SluiceError(error.message, { code: "unreachable" });
	});
	if (!response.ok) throw await errorOf(response);
	return response;
}

export async function json(path, init) {
	return (await request(path, init)).json();
}

/** The objects of a response with a line for each, as they come. */
export async function* lines(response) {
	const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (let part; (part = await reader.read()), !part.done; ) {
		const found = (rest + part.value).split("\n");
		rest = found.pop();
		for (const line of found) if (line.trim()) yield JSON.parse(line);
	}
}
