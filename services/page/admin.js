// For admins: models are pulled and deleted, servers are shown.

import { $, button, make } from "./dom.js";
import { json, lines, request } from "./gateway.js";
import { duration, number, size } from "./words.js";

/** Called when models have come or gone. */
let changed = () => {};
let pulling;

/** Shows the button to those who may manage models. */
export async function offerAdmin(whenChanged) {
  changed = whenChanged;
  $("admin").hidden = !(await json("servers").then(() => true, () => false));
}

$("admin").onclick = async () => {
  said("");
  $("admin-dialog").showModal();
  await refresh();
};

$("pull").onsubmit = (event) => {
  event.preventDefault();
  pull($("pull-name").value.trim());
};

$("pull-stop").onclick = () => pulling?.abort();

async function refresh() {
  try {
    const [{ models }, { servers }] = await Promise.all([json("api/tags"), json("servers")]);
    $("pull-server").replaceChildren(make("option", { value: "" }, "all servers"),
      ...servers.map(({ name }) => make("option", {}, name)));
    $("pull-server").hidden = servers.length < 2;
    $("models").replaceChildren(...models.map(model));
    $("servers").replaceChildren(...servers.map(server));
  } catch (error) {
    said(`The servers cannot be listed: ${error.message}.`);
  }
}

function model({ name, size: bytes, details, servers }) {
  const facts = [size(bytes), details?.parameter_size, details?.quantization_level, servers?.join(", ")].filter(Boolean);
  const remove = button("Delete", "delete", () => {
    if (remove.textContent === "Delete") {
      remove.textContent = "Delete for good";
      setTimeout(() => (remove.textContent = "Delete"), 5_000);
    } else {
      removeModel(name);
    }
  });
  remove.setAttribute("aria-describedby", `model-${name}`);
  return make("li", {}, make("div", {}, make("strong", { id: `model-${name}`, dir: "auto" }, name), facts.join(" · ")), remove);
}

function server({ name, address, available, reason, loaded, slots, speeds }) {
  const facts = loaded.map((one) => {
    const { busy = 0, of = 0 } = slots[one.name] ?? {};
    const speed = speeds[one.name]?.tokens_per_second;
    return [
      `${one.name}: ${size(one.size)} in memory`,
      of ? `${busy} of ${of} slots busy` : `${busy} running`,
      speed ? `${number(speed)} tokens/s` : "",
      one.unload_after === null ? "stays" : `unloaded after ${duration(one.unload_after)}`,
    ].filter(Boolean).join(", ");
  });
  const state = reason ?? (available ? "available" : "not available");
  return make("li", {}, make("div", {}, make("strong", {}, name), `${address} · ${state}`,
    ...facts.map((fact) => make("span", { className: "fact" }, fact))));
}

async function removeModel(name) {
  try {
    await request("api/delete", { method: "DELETE", body: { model: name } });
    said(`${name} is deleted.`);
  } catch (error) {
    said(`${name} cannot be deleted: ${error.message}.`);
  }
  await refresh();
  changed();
}

async function pull(name) {
  const server = $("pull-server").value;
  const bar = $("pull-progress");
  pulling = new AbortController();
  $("pull-stop").hidden = bar.hidden = false;
  bar.removeAttribute("value");
  said(`Pulling ${name}…`);
  try {
    const headers = server ? { "X-Backend": server } : {};
    const { signal } = pulling;
    for await (const line of lines(await request("api/pull", { method: "POST", body: { model: name }, headers, signal }))) {
      if (line.error) throw new Error(line.error.message ?? line.error);
      $("pull-stop").title = line.status;
      if (line.total) Object.assign(bar, { max: line.total, value: line.completed ?? 0 });
      else bar.removeAttribute("value");
    }
    said(`${name} is here.`);
  } catch (error) {
    said(error.name === "AbortError" ? "The pull was stopped. It goes on from there if you pull again."
      : `${name} cannot be pulled: ${error.message}.`);
  }
  $("pull-stop").hidden = bar.hidden = true;
  await refresh();
  changed();
}

function said(text) {
  $("admin-said").textContent = text;
}
