// Elements, in which text is only ever text.

export const $ = (id) => document.getElementById(id);

export function make(name, properties = {}, ...content) {
	const element = Object.assign(document.createElement(name), properties);
	element.append(...content);
	return element;
}

export function button(text, className, onclick, label = "") {
	const made = make("button", { type: "button", className: `plain ${className}`, onclick }, text);
	if (label) made.ariaLabel = label;
	return made;
}
