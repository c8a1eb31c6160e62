// The conversation that is shown, and the page around it.

import { offerAdmin } from "./admin.js";
import { answerBegins, answerEnds, answerGoesOn } from "./announcer.js";
import { $, button, make } from "./dom.js";
import { fail } from "./failure.js";
import { json, key } from "./gateway.js";
import { askForKey } from "./keys.js";
import * as log from "./log.js";
import { showModels } from "./models.js";
import { optionsOf, showOptions } from "./options.js";
import { Run, runOf } from "./running.js";
import * as store from "./store.js";
import { failure, limits, waiting } from "./words.js";

const SHOWN = "sluice.shown";

let current;
let growing; // the answer in the log to which text is added
let edited; // the question that is edited

function show(conversation) {
	current = conversation;
	sessionStorage.setItem(SHOWN, conversation.id);
	showOptions(conversation);
	edit();
	const message = conversation.messages.at(-1);
	if (message?.running && !runOf(conversation)) {
		run(message, conversation.messages.slice(0, -2), conversation.messages.at(-2).content).goOn();
	}
	draw();
}

function draw() {
	growing = log.show(current.messages);
	list();
	facts();
}

function list() {
	document.title = current.title ? `${current.title} – Sluice` : "Sluice";
	$("conversations").replaceChildren(...store.all().map((conversation) => {
		const { title } = conversation;
		const open = button(title, "open", () => {
			show(conversation);
			toggleMenu(false);
		});
		open.dir = "auto";
		open.ariaCurrent = String(conversation.id === current.id);
		return make("li", {}, open,
			button("Rename", "", () => rename(conversation), `Rename ${title}`),
			button("Delete", "", () => confirm(`Delete “${title}”?`) && remove(conversation), `Delete ${title}`));
	}));
}

function rename(conversation) {
	conversation.title = prompt("Title", conversation.title)?.trim() || conversation.title;
	store.save(conversation);
	list();
}

function remove(conversation) {
	runOf(conversation)?.forget();
	store.remove(conversation);
	if (conversation === current) begin();
	list();
}

function begin() {
	show(store.create(current));
	$("message").focus();
}

function changedElsewhere(id) {
	const conversation = store.get(id);
	const run = runOf({ id });
	if (run) {
		const last = conversation?.messages.at(-1);
		if ((last?.running || run.isOwn) && last?.id === run.message.id) conversation.messages.splice(-1, 1, run.message);
		else run.forget();
		run.conversation = conversation;
	}
	if (id !== current.id) return list();
	if (JSON.stringify(conversation?.messages) !== JSON.stringify(current.messages)) {
		return show(conversation ?? store.create(current));
	}
	conversation.messages = current.messages;
	current = conversation;
	list();
}

function send() {
	const text = $("message").value;
	if (!text.trim() || runOf(current)) return;
	if (!$("model").value) return start();
	const before = current.messages;
	const end = edited ? before.indexOf(edited) : before.length;
	current.title ||= text.trim().split("\n")[0].slice(0, 80);
	$("message").value = "";
	answer([...before.slice(0, end), { role: "user", id: store.newId(), content: text }], text);
}

function edit(message) {
	edited = message;
	$("editing").hidden = !message;
	if (message) $("message").value = message.content;
}

log.actions.edit = (message) => {
	if (runOf(current)) return;
	edit(message);
	$("message").focus();
};

log.actions.again = (message) => {
	if (runOf(current) || (message !== current.messages.at(-1) && !confirm("Replace what follows?"))) return;
	answer(current.messages.slice(0, current.messages.indexOf(message)));
};

/** Ask for the answer to `messages`. If nothing comes of it, all is as before, and `text` can be sent again. */
function answer(messages, text = "") {
	const before = current.messages;
	Object.assign(current, optionsOf(), { at: Date.now() });
	const request = store.requestFor({ ...current, messages });
	const message = { role: "assistant", id: store.newId(), model: current.model, content: "", running: { after: 0 } };
	current.messages = [...messages, message];
	run(message, before, text).ask(request);
	fail();
	edit();
	draw();
}

function run(message, before, text) {
	answerBegins();
	return new Run(current, message, changed, (run, error) => ended(run, error, before, text));
}

function changed(run, text, thinking) {
	if (run.conversation.id !== current.id) return;
	if (text || thinking) {
		growing.add(text, thinking);
	} else {
		list();
		facts();
	}
	answerGoesOn($("status").textContent, run.message.content);
}

function ended(run, error, before, text) {
	const { conversation, message } = run;
	const isEmpty = !message.content && !message.thinking;
	if (isEmpty) conversation.messages = before;
	else if (error) message.note = failure(error);
	if (conversation.messages.length) {
		store.save(conversation);
	} else {
		conversation.title = "";
		store.remove(conversation);
	}
	if (conversation.id === current.id) {
		growing.end();
		if (isEmpty) draw();
		if (isEmpty) $("message").value ||= text;
		answerEnds(message.content);
		if (error) failed(error, () => text && isEmpty && send());
	}
	list();
	facts();
	showLimits();
}

/** What is missing may be a key: once there is one, `again` is called. */
async function failed(error, again) {
	fail(error);
	if (error.status !== 401 || !(await askForKey())) return;
	fail();
	await start();
	again?.();
}

function facts() {
	const run = runOf(current);
	const hasFocus = [$("send"), $("stop")].includes(document.activeElement);
	$("send").hidden = Boolean(run);
	$("stop").hidden = !run;
	if (hasFocus) $(run ? "stop" : "send").focus();
	const seconds = run ? (performance.now() - run.told) / 1000 : 0;
	const { state, elapsed_seconds: elapsed = 0, eta_seconds: left } = run?.status ?? {};
	$("status").textContent = run ? waiting(run.status, seconds) : "";
	$("figures").textContent = run?.figures ?? current.messages.at(-1)?.figures;
	$("progress").hidden = state !== "loading" || left === undefined;
	Object.assign($("progress"), { max: elapsed + left || 1, value: elapsed + seconds });
}
setInterval(() => runOf(current) && facts(), 1000);

async function showLimits() {
	$("limits").textContent = await json("usage").then(limits, () => "");
}

async function start() {
	try {
		$("no-model").hidden = (await showModels(current.model)) > 0;
		$("change-key").hidden = !key();
		await offerAdmin(start);
		await showLimits();
	} catch (error) {
		failed(error);
	}
}

function toggleMenu(isWanted) {
	$("menu").ariaExpanded = $("side").classList.toggle("open", isWanted);
}

function download(text, type, extension) {
	const href = URL.createObjectURL(new Blob([text], { type }));
	make("a", { href, download: `${current.title || "conversation"}.${extension}` }).click();
}

$("composer").onsubmit = (event) => {
	event.preventDefault();
	send();
};
$("message").onkeydown = (event) => {
	if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
	event.preventDefault();
	send();
};
addEventListener("keydown", ({ key }) => {
	if (key !== "Escape" || document.querySelector("dialog[open]")) return;
	toggleMenu(false);
	runOf(current)?.stop();
});
$("stop").onclick = () => runOf(current).stop();
$("cancel").onclick = () => {
	edit();
	$("message").value = "";
};
$("new").onclick = () => {
	begin();
	toggleMenu(false);
};
$("menu").onclick = () => toggleMenu();
$("change-key").onclick = () => askForKey().then((isThere) => isThere && start());
$("export-json").onclick = () => download(store.asJson(current), "application/json", "json");
$("export-markdown").onclick = () => download(store.asMarkdown(current), "text/markdown", "md");
for (const close of document.querySelectorAll("dialog .close")) close.onclick = () => close.closest("dialog").close();
$("options").onchange = $("model").onchange = () => {
	Object.assign(current, optionsOf());
	if (current.messages.length) store.save(current);
};

addEventListener("online", start);
store.open(changedElsewhere, (message) => fail({ message }));
show(store.get(sessionStorage.getItem(SHOWN)) ?? store.create(store.all()[0] ?? optionsOf()));
start();
