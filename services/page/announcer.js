// Tells a screen reader how an answer goes on: finished paragraphs, at most every few seconds, and never each token.

import { $ } from "./dom.js";

const MILLISECONDS = 5_000;

let told;
let last;

export function say(text) {
	$("announcer").textContent = text;
	last = performance.now();
}

export function answerBegins() {
	told = 0;
	say("Asked.");
}

export function answerGoesOn(text) {
	if (performance.now() - last < MILLISECONDS) return;
	const end = text.lastIndexOf("\n\n");
	if (end > told) tell(text, end);
}

export function answerEnds(text) {
	tell(`${text} End of the answer.`);
}

function tell(text, end = text.length) {
	say(text.slice(told, end).trim());
	told = end;
}
