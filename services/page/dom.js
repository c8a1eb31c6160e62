// Makes elements; text is only ever text.

/** The element with this id. @returns {any} */
export const $ = (id) => document.getElementById(id);

/** @returns {any} */
export function make(name, properties = {}, ...content) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...content);
  return element;
}

/** @returns {any} */
export function button(text, className, onclick, label) {
  const made = make("button", { type: "button", className, onclick }, text);
  if (label) made.setAttribute("aria-label", label);
  return made;
}
