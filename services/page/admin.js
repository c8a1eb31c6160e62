// For admins: pull and delete models, see servers.

import { $, button, make } from "./dom.js";
import { json, lines, request } from "./gateway.js";
import { duration, number, size } from "./words.js";

let changed;
let pulling;

/** Shows the button to those who may; `whenChanged` is called when models have come or gone. */
export async function offerAdmin(whenChanged) {
	changed = whenChanged;
	$("admin").hidden = !(await json("servers").catch(() => false));
}

$("admin").onclick = () => {
	$("admin-dialog").showModal();
	attempt("", refresh);
};
$("pull").onsubmit = (event) => {
	event.preventDefault();
	const name = $("pull-name").value.trim();
	attempt(`${name} is here.`, () => pull(name));
};
$("pull-stop").onclick = () => pulling.abort();

async function attempt(success, work) {
	try {
		await work();
		say(success);
	} catch (error) {
		say(error.name === "AbortError" ? "Stopped. Pulled again, it goes on from here." : `This has failed: ${error.message}.`);
	}
}

function say(text) {
	$("admin-said").textContent = text;
}

async function refresh() {
	const [{ models }, { servers }] = await Promise.all([json("api/tags"), json("servers")]);
	const names = servers.map(({ name }) => make("option", {}, name));
	$("pull-server").replaceChildren(make("option", { value: "" }, "all servers"), ...names);
	$("pull-server").hidden = servers.length < 2;
	$("models").replaceChildren(...models.map(model));
	$("servers").replaceChildren(...servers.map(server));
}

function entry(name, facts, ...controls) {
	const title = make("strong", { dir: "auto" }, name);
	return make("li", {}, make("div", {}, title, ...facts.filter(Boolean).map((fact) => make("div", {}, fact))), ...controls);
}

function model({ name, size: bytes, details, servers }) {
	const facts = [size(bytes), details?.parameter_size, details?.quantization_level, servers?.join(", ")];
	const remove = button("Delete", "", () => {
		if (confirm(`Delete ${name} from all servers?`)) attempt(`${name} is deleted.`, () => removeModel(name));
	}, `Delete ${name}`);
	return entry(name, [facts.filter(Boolean).join(" · ")], remove);
}

function server({ name, address, available, reason, loaded, slots, speeds }) {
	const facts = loaded.map((one) => {
		const { busy = 0, of = 0 } = slots[one.name] ?? {};
		const speed = speeds[one.name]?.tokens_per_second;
		const stays = one.unload_after === null ? "stays" : `unloaded in ${duration(one.unload_after)}`;
		return `${one.name}: ${size(one.size)}, ${busy} of ${of || "any"} slots busy, ${speed ? `${number(speed)} tokens/s, ` : ""}${stays}`;
	});
	return entry(name, [address, reason ?? (available ? "available" : "not available"), ...facts]);
}

async function removeModel(name) {
	await request("api/delete", { method: "DELETE", body: { model: name } });
	await Promise.all([refresh(), changed()]);
}

async function pull(name) {
	const server = $("pull-server").value;
	const bar = $("pull-progress");
	pulling = new AbortController();
	$("pull-stop").hidden = bar.hidden = false;
	bar.removeAttribute("value");
	say(`Pulling ${name}…`);
	try {
		const headers = server ? { "X-Backend": server } : {};
		const init = { method: "POST", body: { model: name }, headers, signal: pulling.signal };
		for await (const { error, total, completed = 0 } of lines(await request("api/pull", init))) {
			if (error) throw new Error(error);
			if (total) Object.assign(bar, { max: total, value: completed });
		}
	} finally {
		$("pull-stop").hidden = bar.hidden = true;
	}
	await Promise.all([refresh(), changed()]);
}
