// Asks for a key.

import { $ } from "./dom.js";
import { forgetKey, json, keepKey, key } from "./gateway.js";
import { duration } from "./words.js";

/** The question that is open. */
let asked;

/** Asks until a key works; resolves to whether there is one. */
export function askForKey(problem = key() ? "Your key is not valid any more. Enter another one." : "") {
  asked ??= new Promise((resolve) => {
    const dialog = $("key-dialog");
    const field = $("key");
    forgetKey();
    $("key-problem").textContent = problem;
    field.value = "";
    dialog.onclose = () => {
      asked = undefined;
      resolve(key() !== undefined);
    };
    dialog.querySelector("form").onsubmit = async (event) => {
      event.preventDefault();
      $("key-problem").textContent = "";
      const problem = await refusal(field.value.trim());
      $("key-problem").textContent = problem;
      if (problem) return field.select();
      keepKey(field.value.trim());
      dialog.close();
    };
    dialog.showModal();
  });
  return asked;
}

/** Why this key cannot be used; empty if it can. */
async function refusal(text) {
  if (!/^[\x21-\x7e]+$/.test(text)) return "A key has no spaces and no special characters. Check it and try again.";
  try {
    await json("api/tags", { key: text });
    return "";
  } catch ({ status, message, retryAfter }) {
    if (status === 401) return "This key is not valid: it is unknown or has expired. Check it and try again.";
    if (status === 429) return `Too many tries. Try again in ${duration(retryAfter ?? 5)}.`;
    if (status === 403) return `This key may not use models: ${message}.`;
    return status ? "" : "The gateway cannot be reached. Try again.";
  }
}
