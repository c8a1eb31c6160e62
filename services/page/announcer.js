// Tells a screen reader how an answer goes on: finished paragraphs, at most every few seconds, and never each token.

import { $ } from "./dom.js";

const SECONDS = 5;

let told = 0;
let last = 0;

export function say(text) {
  $("announcer").textContent = text;
}

export function answerBegins() {
  told = 0;
  last = performance.now();
}

export function answerGoesOn(text) {
  if (performance.now() - last < SECONDS * 1000) return;
  const end = text.lastIndexOf("\n\n");
  if (end > told) tell(text, end, "");
}

export function answerEnds(text, ending) {
  tell(text, text.length, ending);
}

function tell(text, end, ending) {
  say(`${text.slice(told, end).trim()} ${ending}`);
  told = end;
  last = performance.now();
}
