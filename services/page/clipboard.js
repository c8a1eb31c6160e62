const SHOWN_MILLISECONDS = 2_000;

/**
 * Copy `text`, and say so on the button.
 *
 * @param {string} text
 * @param {HTMLButtonElement} button
 */
export async function copy(text, button) {
  const said = button.dataset.said ?? button.textContent ?? "";
  button.dataset.said = said;
  button.textContent = (await copied(text)) ? "Copied" : "Not copied";
  setTimeout(() => (button.textContent = said), SHOWN_MILLISECONDS);
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedBySelection(text); // plain HTTP from another machine has no clipboard
  }
}

/** @param {string} text */
function copiedBySelection(text) {
  const field = document.createElement("textarea");
  const focused = document.activeElement;
  field.value = text;
  field.className = "hidden";
  document.body.append(field);
  field.select();
  try {
    return document.execCommand("copy");
  } finally {
    field.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}
