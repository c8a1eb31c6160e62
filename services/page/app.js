// Wires the page up: the conversation that is shown, what is asked, and what is said of it.

import { offerAdmin } from "./admin.js";
import * as announcer from "./announcer.js";
import { $, button, make } from "./dom.js";
import { json, key } from "./gateway.js";
import { askForKey } from "./keys.js";
import * as log from "./log.js";
import { showModels } from "./models.js";
import { optionsOf, showOptions } from "./options.js";
import { Run, runOf } from "./running.js";
import * as store from "./store.js";
import * as words from "./words.js";

const SHOWN = "sluice.shown";

let current;
let growing; // the answer in the log to which text is added
let edited; // the question that is edited

// Conversations

function show(conversation) {
	current = conversation;
	sessionStorage.setItem(SHOWN, conversation.id);
	showOptions(conversation);
	edit();
	draw();
	const message = conversation.messages.at(-1);
	if (message?.running && !runOf(conversation)) {
		announcer.answerBegins();
		const before = conversation.messages.slice(0, -2);
		const text = conversation.messages.at(-2)?.content;
		new Run(conversation, message, { changed, ended: (run, error) => ended(run, error, before, text) }).goOn();
	}
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
	runOf(conversation)?.stop();
	runOf(conversation)?.forget();
	store.remove(conversation);
	if (conversation === current) begin();
	list();
}

function begin() {
	show(store.create(current));
	$("message").focus();
}

/** Another tab has changed a conversation. */
function changedElsewhere(id) {
	const conversation = store.get(id);
	const run = runOf({ id });
	if (run) {
		const at = conversation?.messages.findIndex((message) => message.running && message.id === run.message.id) ?? -1;
		if (at < 0) run.forget();
		else conversation.messages[at] = run.message;
		run.conversation = conversation;
	}
	if (id !== current.id) return list();
	const shown = current.messages;
	current = conversation ?? store.create(current);
	if (JSON.stringify(current.messages) === JSON.stringify(shown)) list();
	else show(current);
}

// Asking

function send() {
	const text = $("message").value;
	if (!text.trim() || runOf(current)) return;
	const before = current.messages;
	const end = edited ? before.indexOf(edited) : before.length;
	current.title ||= text.trim().split("\n")[0].slice(0, 80);
	answer([...before.slice(0, end), { role: "user", id: store.newId(), content: text }], text);
	$("message").value = "";
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
	if (!runOf(current)) answer(current.messages.slice(0, current.messages.indexOf(message)));
};

/** Ask for the answer to `messages`. If nothing comes of it, all is as before, and `text` can be sent again. */
function answer(messages, text = "") {
	const before = current.messages;
	Object.assign(current, optionsOf(), { at: Date.now() });
	if (!current.model) return fail({ message: "There is no model to ask." });
	const request = store.requestFor({ ...current, messages });
	const running = { location: null, after: 0 };
	const message = { role: "assistant", id: store.newId(), model: current.model, content: "", running };
	current.messages = [...messages, message];
	const run = new Run(current, message, { changed, ended: (run, error) => ended(run, error, before, text) });
	fail();
	edit();
	draw();
	announcer.answerBegins();
	run.ask(request);
}

function changed(run, text, thinking) {
	if (run.conversation.id !== current.id) return;
	if (text || thinking) growing?.add(text, thinking);
	else facts();
	if (text) announcer.answerGoesOn(run.message.content);
}

function ended(run, error, before, text) {
	const { conversation, message } = run;
	const isEmpty = !message.content && !message.thinking;
	const isShown = conversation.id === current.id;
	if (isEmpty) conversation.messages = before;
	else if (error) message.note = words.failure(error);
	if (conversation.messages.length) store.save(conversation);
	else Object.assign(conversation, { title: "" }, store.remove(conversation));
	if (isShown) {
		if (isEmpty) $("message").value ||= text;
		else growing.end();
		if (isEmpty) draw();
		announcer.answerEnds(message.content);
		if (error) fail(error, () => text && isEmpty && send());
	}
	list();
	facts();
	showLimits();
}

// What is said of it

let countdown;

/** Tell what has failed, or nothing any more; `again` is called once there is a key, if that was missing. */
function fail(error, again) {
	clearInterval(countdown);
	$("error").hidden = !error;
	if (!error) return;
	const until = Date.now() + error.retryAfter * 1000;
	const left = make("span", { ariaLive: "off" });
	const tick = () => {
		const seconds = Math.ceil((until - Date.now()) / 1000);
		left.textContent = seconds > 0 ? `Ask again in ${words.duration(seconds)}.` : "You can ask again now.";
	};
	if (error.retryAfter) {
		tick();
		countdown = setInterval(tick, 1000);
	}
	const said = error.code ? words.failure(error) : error.message;
	$("error").replaceChildren(make("span", { dir: "auto" }, said), left, button("Dismiss", "dismiss", () => fail()));
	if (error.status === 401) askForKey().then((isThere) => isThere && start().then(again));
}

/** The state of the answer, below the question. */
function facts() {
	const run = runOf(current);
	const [shown, hidden] = run ? [$("stop"), $("send")] : [$("send"), $("stop")];
	const hadFocus = document.activeElement === hidden;
	hidden.hidden = true;
	shown.hidden = false;
	if (hadFocus) shown.focus();
	const seconds = run ? (performance.now() - run.told) / 1000 : 0;
	const { state, elapsed_seconds: elapsed = 0, eta_seconds: left } = run?.status ?? {};
	tell("status", run ? words.waiting(run.status, seconds) : "");
	tell("figures", run?.figures ?? current.messages.at(-1)?.figures ?? "");
	$("progress").hidden = state !== "loading";
	if (left === undefined) $("progress").removeAttribute("value");
	else Object.assign($("progress"), { max: elapsed + left, value: elapsed + seconds });
}
setInterval(() => runOf(current) && facts(), 1000);

function tell(id, text) {
	if ($(id).textContent !== text) $(id).textContent = text;
}

async function showLimits() {
	tell("limits", await json("usage").then(words.limits, () => ""));
}

// The page

/** What depends on the key. */
async function start() {
	try {
		$("no-model").hidden = (await showModels(current.model)) > 0;
		$("change-key").hidden = !key();
		await offerAdmin(start);
		await showLimits();
	} catch (error) {
		fail(error);
	}
}

function toggleMenu(isOpen) {
	$("side").classList.toggle("open", isOpen);
	$("menu").ariaExpanded = String(isOpen);
}

function download(text, type, extension) {
	const href = URL.createObjectURL(new Blob([text], { type }));
	const name = (current.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
	make("a", { href, download: `${name}.${extension}` }).click();
	setTimeout(() => URL.revokeObjectURL(href), 10_000);
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
	$("message").value = "";
	edit();
	$("message").focus();
};
$("new").onclick = () => {
	begin();
	toggleMenu(false);
};
$("menu").onclick = () => toggleMenu();
$("change-key").onclick = () => askForKey("").then((isThere) => isThere && start());
$("export-json").onclick = () => download(store.asJson(current), "application/json", "json");
$("export-markdown").onclick = () => download(store.asMarkdown(current), "text/markdown", "md");
for (const close of document.querySelectorAll("dialog .close")) close.onclick = () => close.closest("dialog").close();
$("options").onchange = $("model").onchange = () => {
	Object.assign(current, optionsOf());
	if (current.messages.length) store.save(current);
};

store.open(changedElsewhere, (message) => fail({ message }));
show(store.get(sessionStorage.getItem(SHOWN)) ?? store.create(store.all()[0] ?? optionsOf()));
start();
