// Tells a screen reader how an answer goes on: finished paragraphs, at most every few seconds, and never each token.

import { $ } from "./dom.js";

const MILLISECONDS = 5_000;
const MOST = 2_000; // characters at once

let told;
let last;

function say(text) {
	$("announcer").textContent = text;
	last = performance.now();
}

export function answerBegins() {
	told = 0;
	say("Asked.");
}

/** What it waits for, or its text so far. */
export function answerGoesOn(status, text) {
	if (performance.now() - last < MILLISECONDS) return;
	last = performance.now();
	const end = text.lastIndexOf("\n\n");
	if (end > told) tell(text, end);
	else if (status) say(status);
}

export function answerEnds(text) {
	tell(`${text} End of the answer.`);
}

function tell(text, end = text.length) {
	say(text.slice(Math.max(told, end - MOST), end).trim());
	told = end;
}
