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
/** The answer on the page that grows. */
let growing;
/** The question that is edited. */
let edited;

// Conversations

function show(conversation) {
  current = conversation;
  sessionStorage.setItem(SHOWN, conversation.id);
  showOptions(conversation);
  edit();
  draw();
  const message = conversation.messages.at(-1);
  if (message?.running && !runOf(conversation)) goOn(conversation, message);
  list();
  facts();
}

function draw() {
  growing = log.show(current.messages);
}

function list() {
  document.title = current.title ? `${current.title} – Sluice` : "Sluice";
  $("conversations").replaceChildren(...store.all().map((conversation) => {
    const { id, title } = conversation;
    const open = button(title, "open", () => {
      show(conversation);
      closeMenu();
      $("message").focus();
    });
    open.dir = "auto";
    if (id === current.id) open.setAttribute("aria-current", "true");
    return make("li", {}, open,
      button("Rename", "rename", () => rename(conversation, open), `Rename ${title}`),
      button("Delete", "delete", (event) => remove(conversation, event.target), `Delete ${title}`));
  }));
}

function rename(conversation, open) {
  const field = make("input", { value: conversation.title, maxLength: 80 });
  field.setAttribute("aria-label", "Title");
  let isDone = false;
  const done = (isKept) => {
    if (isDone) return;
    isDone = true;
    if (isKept && field.value.trim()) {
      conversation.title = field.value.trim();
      store.save(conversation);
    }
    list();
  };
  field.onkeydown = (event) => {
    if (event.key === "Enter" || event.key === "Escape") {
      event.stopPropagation();
      done(event.key === "Enter");
      $("conversations").querySelector("[aria-current]")?.focus();
    }
  };
  field.onblur = () => done(true);
  open.replaceWith(field);
  field.select();
}

function remove(conversation, pressed) {
  if (pressed.textContent === "Delete") {
    pressed.textContent = "Delete?";
    pressed.onblur = () => (pressed.textContent = "Delete");
    return;
  }
  runOf(conversation)?.stop();
  runOf(conversation)?.forget();
  store.remove(conversation.id);
  announcer.say("The conversation is deleted.");
  if (conversation.id === current.id) begin();
  else list();
}

function begin() {
  show(store.create(current));
  $("message").focus();
}

function changedElsewhere(id) {
  const conversation = store.get(id);
  const run = current.id === id ? runOf(current) : undefined;
  if (run) {
    const at = conversation?.messages.findIndex((message) => message.id === run.message.id && message.running) ?? -1;
    if (at < 0) {
      run.forget();
    } else {
      conversation.messages[at] = run.message;
      run.conversation = conversation;
    }
  }
  if (id !== current.id) return list();
  if (!conversation) return begin();
  const isSame = JSON.stringify(conversation.messages) === JSON.stringify(current.messages);
  current = conversation;
  if (isSame) list();
  else show(conversation);
}

// Asking

function ask(text) {
  const before = current.messages;
  const at = edited ? before.indexOf(edited) : before.length;
  const question = { role: "user", id: store.newId(), content: text };
  current.title ||= store.titleOf(text);
  answer([...before.slice(0, at), question], before, text);
}

log.actions.edit = (message) => {
  if (runOf(current)) return;
  edit(message);
  $("message").focus();
};

log.actions.again = (message) => {
  if (runOf(current)) return;
  const before = current.messages;
  answer(before.slice(0, before.indexOf(message)), before, "");
};

function edit(message) {
  edited = message;
  $("editing").hidden = !message;
  if (message) $("message").value = message.content;
}

/** Ask for the answer to `messages`; if nothing comes of it, all is as `before`, and `text` may be sent again. */
async function answer(messages, before, text) {
  Object.assign(current, optionsOf(), { at: Date.now() });
  const request = store.requestFor({ ...current, messages });
  const message = { role: "assistant", id: store.newId(), content: "", model: current.model, running: { location: null, after: 0 } };
  const conversation = current;
  conversation.messages = [...messages, message];
  const run = new Run(conversation, message, handlers(text));
  fail();
  edit();
  draw();
  list();
  facts();
  log.scrollDown();
  announcer.answerBegins();
  announcer.say("Asked.");
  run.ask(before, request);
}

/** Read an answer on that has begun before, or in another tab. */
function goOn(conversation, message) {
  const run = new Run(conversation, message, handlers(""));
  announcer.answerBegins();
  if (message.running.location) run.follow();
  else run.interrupted();
}

function handlers(text) {
  return {
    changed(run, added, thinking) {
      if (run.conversation.id !== current.id) return;
      if (added || thinking) growing?.add(added, thinking);
      else facts();
      if (added) announcer.answerGoesOn(run.message.content);
    },
    ended(run, error) {
      const { conversation, message } = run;
      const isShown = conversation.id === current.id;
      const isEmpty = !message.content && !message.thinking;
      if (error) message.note = isEmpty ? "" : words.failure(error, message.model);
      if (isEmpty) undo(run, text);
      if (conversation.messages.length) store.save(conversation);
      else store.remove(conversation.id);
      if (isShown) {
        if (isEmpty) draw();
        else growing?.end();
        growing = undefined;
        announcer.answerEnds(message.content, error ? "" : "End of the answer.");
        if (error) fail(error, message.model, () => text && isEmpty && send());
      }
      list();
      facts();
      showLimits();
    },
  };
}

/** Nothing has come of it. */
function undo({ conversation, before }, text) {
  conversation.messages = before ?? conversation.messages.slice(0, -1);
  if (!conversation.messages.length) conversation.title = "";
  if (text && conversation.id === current.id && !$("message").value) $("message").value = text;
}

function send() {
  const text = $("message").value;
  if (!text.trim() || runOf(current)) return;
  if (!$("model").value) return fail(new Error("There is no model to ask. Install one first."));
  $("message").value = "";
  ask(text);
}

// What is said of it

let countdown;

function fail(error, model = "", again = () => {}) {
  clearInterval(countdown);
  const box = $("error");
  box.hidden = !error;
  if (!error) return;
  const left = make("span");
  left.setAttribute("aria-live", "off");
  const until = Date.now() + (error.retryAfter ?? 0) * 1000;
  const tick = () => {
    const seconds = (until - Date.now()) / 1000;
    left.textContent = seconds > 0 ? ` Ask again in ${words.duration(seconds)}.` : " You can ask again now.";
    if (seconds <= 0) clearInterval(countdown);
  };
  if (error.retryAfter) {
    tick();
    countdown = setInterval(tick, 1000);
  }
  const said = error.status === undefined ? error.message : words.failure(error, model);
  box.replaceChildren(make("span", { dir: "auto" }, said), left, button("Dismiss", "dismiss", () => fail()));
  if (error.status === 401) askForKey().then((isThere) => isThere && start().then(again));
}

/** The state of the answer, beside the composer. */
function facts() {
  const run = runOf(current);
  const hadFocus = document.activeElement === (run ? $("send") : $("stop"));
  $("send").hidden = Boolean(run);
  $("stop").hidden = !run;
  if (hadFocus) (run ? $("stop") : $("send")).focus();
  const seconds = run ? (performance.now() - run.told) / 1000 : 0;
  const status = run ? words.waiting(run.status, seconds) || (run.message.content ? "" : "Waiting for the first token…") : "";
  if ($("status").textContent !== status) $("status").textContent = status;
  const { state, elapsed_seconds: elapsed = 0, eta_seconds: left } = run?.status ?? {};
  $("progress").hidden = state !== "loading";
  if (left === undefined) $("progress").removeAttribute("value");
  else Object.assign($("progress"), { max: elapsed + left, value: elapsed + seconds });
  const figures = run ? run.figures() : current.messages.at(-1)?.figures ?? "";
  if ($("figures").textContent !== figures) $("figures").textContent = figures;
}
setInterval(() => runOf(current) && facts(), 1000);

async function showLimits() {
  $("limits").textContent = await json("usage").then(words.limits, () => "");
}

// The page

const closeMenu = () => toggleMenu(false);

function toggleMenu(isOpen) {
  $("side").classList.toggle("open", isOpen);
  $("menu").setAttribute("aria-expanded", String(isOpen));
}

async function start() {
  try {
    const names = await showModels(current.model);
    $("hint").textContent = names.length ? "Conversations stay in this browser."
      : "No model is installed yet. An admin can pull one here, under “Models and servers”; or use the command ollama pull qwen2.5:1.5b where Ollama runs, or list models in MODELS in .env.";
    $("change-key").hidden = key() === undefined;
    await offerAdmin(start);
    await showLimits();
  } catch (error) {
    fail(error);
  }
}

function download(text, type, extension) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const name = (current.title || "conversation").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
  make("a", { href: address, download: `${name}.${extension}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
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
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  closeMenu();
  runOf(current)?.stop();
});
$("stop").onclick = () => runOf(current)?.stop();
$("cancel").onclick = () => {
  $("message").value = "";
  edit();
  $("message").focus();
};
$("new").onclick = () => {
  begin();
  closeMenu();
};
$("menu").onclick = () => toggleMenu(!$("side").classList.contains("open"));
$("change-key").onclick = () => askForKey("").then((isThere) => isThere && start());
$("export-json").onclick = () => download(store.asJson(current), "application/json", "json");
$("export-markdown").onclick = () => download(store.asMarkdown(current), "text/markdown", "md");
for (const close of document.querySelectorAll("dialog .close")) close.onclick = () => close.closest("dialog").close();
$("options").onchange = $("model").onchange = () => {
  Object.assign(current, optionsOf());
  if (current.messages.length) store.save(current);
};

store.open(changedElsewhere, (said) => fail(new Error(said)));
const [latest] = store.all();
show(store.get(sessionStorage.getItem(SHOWN) ?? "") ?? store.create(latest ?? optionsOf()));
start();
