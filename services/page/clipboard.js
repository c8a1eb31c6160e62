import { make } from "./dom.js";

const SHOWN_MILLISECONDS = 2_000;

/** Copy `text`, and say so on the button. */
export async function copy(text, button) {
	button.textContent = (await copied(text)) ? "Copied" : "Not copied";
	setTimeout(() => (button.textContent = "Copy"), SHOWN_MILLISECONDS);
}

async function copied(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		return copiedBySelection(text); // there is no clipboard over plain HTTP from another machine
	}
}

function copiedBySelection(text) {
	const focused = document.activeElement;
	const field = make("textarea", { value: text, className: "hidden" });
	document.body.append(field);
	field.select();
	const isCopied = document.execCommand("copy");
	field.remove();
	focused.focus();
	return isCopied;
}
