/**
 * A client for Sluice's `POST /chat`, whose answers go on after a lost connection. For browsers and Node 20.
 *
 * @typedef {{role: string, content: string, [field: string]: unknown}} Message
 * @typedef {Record<string, {limit: number, remaining: number}>} Limits  of `requests` and `tokens`
 * @typedef {{[field: string]: any}} Line  one line of Ollama's stream
 * @typedef {{inputTokens?: number, outputTokens?: number, tokensPerSecond?: number, firstTokenSeconds?: number}} Stats
 * @typedef {{type: "accepted", location: string | null, requestId: string | null, limits: Limits}
 *   | {type: "status", state: string, [field: string]: unknown}
 *   | {type: "chunk", id: number | null, text: string, thinking: string, data: Line}
 *   | {type: "reconnecting", attempt: number, seconds: number}
 *   | {type: "resumed", after: number}
 *   | {type: "done", id: number | null, data: Line | null, stats: Stats}} ChatEvent
 * @typedef {{url?: string, key?: string, resume?: number, signal?: AbortSignal}} Common
 *   `url`: the gateway's address, in a page by default its own; `resume`: how many seconds the answer waits for a lost
 *   connection, 0: none; an abort of `signal` stops it
 */

const FIRST_DELAY = 0.5;
const LONGEST_DELAY = 5;
const PASSING = [0, 429, 502, 503, 504];

// Three heartbeats of the gateway: a connection that is silent for longer has died unnoticed.
const LONGEST_SILENCE = 45_000;

/** `code` is the gateway's. `status` is 0 without an answer, or if it failed midway; `retryAfter` is in seconds. */
export class SluiceError extends Error {
	/**
	 * @param {string} message
	 * @param {{code?: string, status?: number, retryAfter?: number | null, requestId?: string | null}} details
	 */
	constructor(message, { code = "error", status = 0, retryAfter = null, requestId = null } = {}) {
		super(message);
		this.name = "SluiceError";
		this.code = code;
		this.status = status;
		this.retryAfter = retryAfter;
		this.requestId = requestId;
	}
}

/**
 * Parses the event stream of one connection, wherever it is split. `retry` is ignored.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class EventStreamParser {
	#decoder = new TextDecoder();
	#line = "";
	#endedWithCr = false;
	#data = "";
	#event = "";
	#id = "";

	/**
	 * @param {Uint8Array} bytes
	 * @returns {{event: string, data: string, id: string}[]}  the events that are complete now
	 */
	push(bytes) {
		const text = this.#decoder.decode(bytes, { stream: true });
		if (!text) return [];
		/** @type {{event: string, data: string, id: string}[]} */
		const events = [];
		const ends = /\r\n?|\n/g;
		let start = this.#endedWithCr && text[0] === "\n" ? 1 : 0;
		ends.lastIndex = start;
		for (let end; (end = ends.exec(text)); start = ends.lastIndex) {
			this.#take(this.#line + text.slice(start, end.index), events);
			this.#line = "";
		}
		this.#line += text.slice(start);
		this.#endedWithCr = text.endsWith("\r");
		return events;
	}

	#take(line, events) {
		if (!line) {
			if (this.#data) events.push({ event: this.#event || "message", data: this.#data.slice(0, -1), id: this.#id });
			this.#data = this.#event = "";
			return;
		}
		const [, field, value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
		if (field === "data") this.#data += `${value}\n`;
		else if (field === "event") this.#event = value;
		else if (field === "id" && !value.includes("\0")) this.#id = value;
	}
}

/**
 * Ask for an answer. Leaving the loop stops it, as an abort does. Further fields are sent as they are. Throws SluiceError.
 *
 * @param {Common & {model: string, messages: Message[], options?: object, [field: string]: unknown}} question
 * @returns {AsyncGenerator<ChatEvent>}
 */
export async function* chat({ url = "", key, resume = 60, signal, ...body }) {
	signal?.throwIfAborted();
	const began = performance.now();
	const opened = open(url, "chat", key, {
		method: "POST",
		headers: { "Content-Type": "application/json", ...(resume ? { Prefer: `resume=${resume}` } : {}) },
		body: JSON.stringify(body),
	}, signal);
	let hasEnded = false;
	try {
		const connection = await unlessAborted(opened, signal);
		const { headers } = connection;
		const location = headers.get("location");
		const applied = /resume=(\d+)/.exec(headers.get("preference-applied"))?.[1] ?? resume;
		yield { type: "accepted", location, requestId: headers.get("x-request-id"), limits: limits(headers) };
		yield* read({ url, key, location, after: 0, resume: Number(applied), signal, began }, connection);
		hasEnded = true;
	} catch (error) {
		hasEnded = error instanceof SluiceError;
		throw error;
	} finally {
		// Without its head, the answer has begun all the same, and its address is about to come.
		opened.then(({ headers, close }) => {
			close();
			const location = headers.get("location");
			if (location && !hasEnded) stop({ url, key, location }).catch(() => {});
		}, () => {});
	}
}

/**
 * Read an answer that runs, or has ended, after the event with the id `after`. Leaving the loop leaves it running.
 *
 * @param {Common & {location: string, after?: number}} options
 * @returns {AsyncGenerator<ChatEvent>}
 */
export async function* follow({ url = "", key, location, after = 0, resume = 60, signal }) {
	signal?.throwIfAborted();
	yield { type: "accepted", location, requestId: null, limits: {} };
	try {
		yield* read({ url, key, location, after, resume, signal });
	} catch (error) {
		if (signal?.aborted) stop({ url, key, location }).catch(() => {});
		throw error;
	}
}

/**
 * Stop and forget an answer.
 *
 * @param {Common & {location: string}} options
 */
export async function stop({ url = "", key, location }) {
	// `keepalive`: also while the page is left.
	const stopped = open(url, pathOf(location), key, { method: "DELETE", keepalive: true });
	await stopped.then(({ close }) => close(), (error) => {
		if (error.status !== 404) throw error;
	});
}

/**
 * What a response that is not ok says.
 *
 * @param {Response} response
 */
export async function errorOf(response) {
	const wait = response.headers.get("retry-after") ?? "";
	return errorIn(await response.text().catch(() => ""), `HTTP ${response.status}`, {
		status: response.status,
		retryAfter: /^\d+$/.test(wait) ? Number(wait) : null,
		requestId: response.headers.get("x-request-id"),
	});
}

function errorIn(text, otherwise, details) {
	const error = parsed(text)?.error;
	if (typeof error === "string") return new SluiceError(error, details);
	return new SluiceError(error?.message ?? otherwise, { ...details, code: error?.code, requestId: error?.request_id });
}

/** All events of an answer, over any number of connections; the first one may be there already. */
async function* read({ url, key, location, after, resume, signal, began = NaN }, connection) {
	let last = after;
	let heard = performance.now();
	let firstToken = NaN;
	let attempt = 0;

	/** Whether an event has not been read before. */
	function isNext(id) {
		if (!/^\d+$/.test(id)) return true;
		if (id > last + 1) throw new SluiceError(`Event ${last + 1} is missing.`, { code: "event_missing" });
		const isNew = id > last;
		if (isNew) last = Number(id);
		return isNew;
	}

	try {
		for (let isFirst = !connection; ; isFirst = false) {
			if (!connection) {
				const headers = { "Last-Event-ID": String(last) };
				try {
					connection = await unlessAborted(open(url, pathOf(location), key, { headers }, signal), signal);
					if (connection.status === 204) return yield { type: "done", id: last, data: null, stats: {} };
					if (!isFirst) yield { type: "resumed", after: last };
				} catch (error) {
					if (!PASSING.includes(error.status)) throw error;
				}
			}
			const parser = new EventStreamParser();
			for (let bytes; connection && (bytes = await connection.read()); attempt = 0) {
				heard = performance.now();
				for (const { event, data, id } of parser.push(bytes)) {
					if (event === "status") yield { type: "status", ...parsed(data) };
					if (event === "error" && isNext(id)) throw errorIn(data, "The answer has failed.");
					if (event !== "message" || !isNext(id)) continue;
					const line = parsed(data);
					if (!line) throw new SluiceError("An event is not JSON.", { code: "bad_event" });
					const { content: text = "", thinking = "" } = line.message ?? {};
					const common = { id: Number(id) || null, data: line };
					if ((text || thinking) && !firstToken) firstToken = performance.now();
					if (text || thinking || !line.done) yield { type: "chunk", ...common, text, thinking };
					if (line.done) return yield { type: "done", ...common, stats: stats(line, (firstToken - began) / 1000) };
				}
			}
			connection?.close();
			connection = undefined;
			const isOnline = globalThis.navigator?.onLine !== false;
			if (!location || (attempt && isOnline && performance.now() - heard > resume * 1000)) {
				throw new SluiceError("The connection was lost before the answer was complete.", { code: "connection_lost" });
			}
			const seconds = Math.min(FIRST_DELAY * 2 ** attempt++, LONGEST_DELAY);
			yield { type: "reconnecting", attempt, seconds };
			await delay(seconds, signal);
		}
	} finally {
		connection?.close();
	}
}

/**
 * A request, which `signal` ends once its head is there. If its answer is kept, it is cut when it is silent for too
 * long or the browser is offline.
 */
async function open(url, path, key, init, signal) {
	const where = new URL(path, url ? `${url.replace(/\/+$/, "")}/` : globalThis.document?.baseURI);
	const headers = { ...init.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
	const abort = new AbortController();
	const cut = () => abort.abort();
	let response;
	try {
		response = await fetch(where, { ...init, headers, cache: "no-store", signal: abort.signal });
	} catch (error) {
		throw new SluiceError(`The gateway cannot be reached: ${error.message}`, { code: "unreachable" });
	}
	if (!response.ok) throw await errorOf(response);
	const reader = response.body?.getReader();
	let heard = performance.now();
	let watch;
	signal?.addEventListener("abort", cut);
	if (init.method !== "POST" || response.headers.has("location")) {
		globalThis.addEventListener?.("offline", cut);
		watch = setInterval(() => performance.now() - heard > LONGEST_SILENCE && cut(), LONGEST_SILENCE / 3);
	}
	return {
		status: response.status,
		headers: response.headers,
		/** The next bytes; none once it has ended, in whatever way. */
		async read() {
			const part = await reader?.read().catch(() => undefined);
			signal?.throwIfAborted();
			heard = performance.now();
			return part?.value;
		},
		close() {
			clearInterval(watch);
			globalThis.removeEventListener?.("offline", cut);
			signal?.removeEventListener("abort", cut);
			cut();
		},
	};
}

/** The gateway does not know below which prefix it is reached. */
const pathOf = (location) => `chat/${location.split("/").pop()}`;

function parsed(text) {
	try {
		const value = JSON.parse(text);
		return value && typeof value === "object" ? value : undefined;
	} catch {
		return undefined;
	}
}

/** @returns {Promise<any>} */
function unlessAborted(promise, signal) {
	if (!signal) return promise;
	return new Promise((resolve, reject) => {
		const abort = () => reject(signal.reason);
		if (signal.aborted) abort();
		signal.addEventListener("abort", abort);
		promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
	});
}

/** Until so many seconds are over, or the browser is online again. */
async function delay(seconds, signal) {
	await unlessAborted(new Promise((over) => {
		setTimeout(over, seconds * 1000);
		globalThis.addEventListener?.("online", over, { once: true });
	}), signal);
}

/** @returns {Stats} */
function stats({ prompt_eval_count: inputTokens, eval_count: outputTokens, eval_duration: nanoseconds }, firstToken) {
	const tokensPerSecond = nanoseconds ? (outputTokens * 1e9) / nanoseconds : undefined;
	return { inputTokens, outputTokens, tokensPerSecond, firstTokenSeconds: firstToken || undefined };
}

function limits(headers) {
	/** @type {Limits} */
	const found = {};
	for (const unit of ["requests", "tokens"]) {
		const [limit, remaining] = ["limit", "remaining"].map((name) => headers.get(`x-ratelimit-${name}-${unit}`));
		if (limit) found[unit] = { limit: Number(limit), remaining: Number(remaining) };
	}
	return found;
}
