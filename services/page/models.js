// The list of models: those in memory first.

import { $, make } from "./dom.js";
import { json } from "./gateway.js";

/** Resolves to the number of models. */
export async function showModels(wanted) {
	const { models } = await json("api/tags");
	const { models: resident = [] } = await json("api/ps").catch(() => ({}));
	const names = models.map(({ name }) => name).sort();
	const loaded = names.filter((name) => resident.some((model) => model.name === name));
	const groups = { "In memory": loaded, "Not in memory": names.filter((name) => !loaded.includes(name)) };
	const chosen = [wanted, $("model").value, loaded[0], names[0]].find((name) => names.includes(name));
	$("model").replaceChildren(...Object.entries(groups).filter(([, group]) => group.length)
		.map(([label, group]) => make("optgroup", { label }, ...group.map((value) => make("option", { value }, value)))));
	if (names.length) $("model").value = chosen;
	return names.length;
}
