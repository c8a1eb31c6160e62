// Asks for a key.

import { $ } from "./dom.js";
import { json, keepKey } from "./gateway.js";

let asking; // while the dialog is open

/** Resolves to whether there is a key that works. */
export function askForKey() {
	asking ??= new Promise((resolve) => {
		let isThere = false;
		$("key").value = "";
		$("key-problem").textContent = "";
		$("key-dialog").onclose = () => {
			asking = undefined;
			resolve(isThere);
		};
		$("key-form").onsubmit = async (event) => {
			event.preventDefault();
			const text = $("key").value.trim();
			const problem = ($("key-problem").textContent = await refusal(text));
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
	if (!/^[\x21-\x7e]+$/.test(text)) return "This is not a valid key. Check it and try again.";
	try {
		await json("api/tags", { key: text });
		return "";
	} catch ({ status, message }) {
		return status === 401 ? "This key is unknown or has expired. Check it and try again." : `It cannot be used: ${message}.`;
	}
}
