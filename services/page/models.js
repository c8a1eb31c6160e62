// The list of models: those in memory first.

import { $, make } from "./dom.js";
import { json } from "./gateway.js";

/** @returns the names of all models */
export async function showModels(wanted) {
  const { models } = await json("api/tags");
  const { models: resident } = await json("api/ps").catch(() => ({ models: [] }));
  const names = models.map(({ name }) => name).sort();
  const loaded = names.filter((name) => resident.some((model) => model.name === name));
  const others = names.filter((name) => !loaded.includes(name));
  const select = $("model");
  const chosen = [wanted, select.value, loaded[0], names[0]].find((name) => names.includes(name));
  select.replaceChildren(...[["In memory", loaded], ["Not in memory", others]].filter(([, group]) => group.length)
    .map(([label, group]) => make("optgroup", { label }, ...group.map((name) => make("option", { value: name }, name)))));
  if (chosen !== undefined) select.value = chosen;
  return names;
}
