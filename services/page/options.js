// The model, the system prompt and the options of a conversation.

import { $ } from "./dom.js";

const NUMBERS = ["temperature", "top_p", "num_predict", "num_ctx", "seed"];

export function optionsOf() {
  const filled = NUMBERS.filter((name) => $(name).value !== "" && $(name).validity.valid);
  return {
    model: $("model").value,
    system: $("system").value,
    think: $("think").value,
    options: Object.fromEntries(filled.map((name) => [name, Number($(name).value)])),
  };
}

export function showOptions({ model, system, think, options }) {
  if ([...$("model").options].some(({ value }) => value === model)) $("model").value = model;
  $("system").value = system;
  $("think").value = think;
  for (const name of NUMBERS) $(name).value = options[name] ?? "";
}
