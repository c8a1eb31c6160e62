// For admins: pull and delete models, see servers.

import { $, button, make } from "./dom.js";
import { json, lines, request } from "./gateway.js";
import { size } from "./words.js";

let changed;
let pulling;

/** Shows the button to those who may; `whenChanged` is called when models have come or gone. */
export async function offerAdmin(whenChanged) {
	changed = whenChanged;
	$("admin").hidden = !(await json("servers").catch(() => false));
}

$("admin").onclick = () => {
	$("admin-dialog").showModal();
	say("");
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
		if (success) say(success);
	} catch ({ name, message }) {
		say(name === "AbortError" ? "Stopped. Pull it again to go on." : `This has failed: ${message}.`);
	}
}

function say(text) {
	$("admin-said").textContent = text;
}

async function refresh() {
	const [{ models }, { servers }] = await Promise.all([json("api/tags"), json("servers")]);
	$("models").replaceChildren(...models.map(model));
	$("servers").replaceChildren(...servers.map(server));
}

function entry(name, facts, ...controls) {
	const shown = facts.map((fact) => make("div", { className: "quiet" }, fact));
	return make("li", {}, make("div", {}, make("strong", { dir: "auto" }, name), ...shown), ...controls);
}

function model({ name, size: bytes, servers = [] }) {
	return entry(name, [size(bytes), servers.join(", ")], button("Delete", "", () => {
		if (confirm(`Delete ${name} from all servers?`)) attempt(`${name} is deleted.`, () => remove(name));
	}, `Delete ${name}`));
}

function server({ name, address, reason, available, loaded, slots }) {
	const facts = loaded.map((one) => {
		const { busy = 0, of = 0 } = slots[one.name] ?? {};
		return `${one.name}: ${size(one.size)}, ${busy} of ${of || "any"} slots busy`;
	});
	return entry(name, [address, reason ?? (available ? "available" : "not available"), ...facts]);
}

async function remove(name) {
	await request("api/delete", { method: "DELETE", body: { model: name } });
	await Promise.all([refresh(), changed()]);
}

async function pull(name) {
	const bar = $("pull-progress");
	pulling = new AbortController();
	$("pull-stop").hidden = bar.hidden = false;
	say(`Pulling ${name}…`);
	try {
		const pulled = await request("api/pull", { method: "POST", body: { model: name }, signal: pulling.signal });
		for await (const { error, total, completed = 0 } of lines(pulled)) {
			if (error) throw new Error(error);
			if (total) Object.assign(bar, { max: total, value: completed });
		}
	} finally {
		$("pull-stop").hidden = bar.hidden = true;
	}
	await Promise.all([refresh(), changed()]);
}
