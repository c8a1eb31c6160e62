// Asks for a key.

import { $ } from "./dom.js";
import { json, keepKey, key } from "./gateway.js";
import { duration } from "./words.js";

let asking; // while the dialog is open

/** Resolves to whether there is a key that works. */
export function askForKey(problem = key() && "Your key is not valid any more. Enter another one.") {
	asking ??= new Promise((resolve) => {
		let isThere = false;
		$("key").value = "";
		$("key-problem").textContent = problem;
		$("key-dialog").onclose = () => {
			asking = undefined;
			resolve(isThere);
		};
		$("key-form").onsubmit = async (event) => {
			event.preventDefault();
			const text = $("key").value.trim();
			const problem = await refusal(text);
			$("key-problem").textContent = problem;
			if (problem) return $("key").select();
			keepKey(text);
			isThere = true;
			$("key-dialog").close();
		};
		$("key-dialog").showModal();
	});
	return asking;
}

/** Why this key cannot be used; empty if it can. */
async function refusal(text) {
	if (!/^[\x21-\x7e]+$/.test(text)) return "This is not a valid key: keys have no spaces and no special characters.";
	try {
		await json("api/tags", { key: text });
	} catch ({ status, message, retryAfter }) {
		if (status === 401) return "This key is not valid: it is unknown or has expired. Check it and try again.";
		if (status === 429) return `Too many tries. Try again in ${duration(retryAfter ?? 5)}.`;
		return `This key cannot be used: ${message}.`;
	}
	return "";
}
