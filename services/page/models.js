// The list of models: those in memory first.

import { $, make } from "./dom.js";
import { json } from "./gateway.js";

/** Resolves to the number of models. */
export async function showModels(wanted) {
	const { models } = await json("api/tags");
	const { models: resident = [] } = await json("api/ps").catch(() => ({}));
	const isLoaded = (name) => resident.some((model) => model.name === name);
	const names = models.map(({ name }) => name).sort((one, other) => isLoaded(other) - isLoaded(one) || one.localeCompare(other));
	const chosen = [wanted, $("model").value, ...names].find((name) => names.includes(name));
	$("model").replaceChildren(...names.map((value) => make("option", { value }, value, isLoaded(value) ? " · loaded" : "")));
	$("model").value = chosen;
	return names.length;
}
