/**
 * A client for Sluice's `POST /chat`: streams that go on after a lost connection. No dependencies; for browsers and
 * Node 20. https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * @typedef {{role: string, content: string, [field: string]: unknown}} Message
 * @typedef {{limit: number, remaining: number, reset: number}} Quota  `reset` is in seconds
 * @typedef {{requests?: Quota, tokens?: Quota}} Limits
 * @typedef {{model?: string, done?: boolean, message?: {content?: string, thinking?: string},
 *   [field: string]: unknown}} Line  one line of Ollama's stream
 * @typedef {{inputTokens: number | null, outputTokens: number | null, tokensPerSecond: number | null,
 *   firstTokenSeconds: number | null}} Stats
 *
 * @typedef {{type: "accepted", location: string | null, requestId: string | null, limits: Limits | null}} Accepted
 *   the first event; without a location the answer ends with its connection
 * @typedef {{type: "status", state: string, [field: string]: unknown}} Status
 *   `queued` (position, of, eta_seconds), `loading` (model, elapsed_seconds, eta_seconds), `answering` (server),
 *   `not_resumable`
 * @typedef {{type: "chunk", id: number | null, text: string, thinking: string, data: Line}} Chunk
 * @typedef {{type: "reconnecting", attempt: number, seconds: number}} Reconnecting  in so many seconds
 * @typedef {{type: "resumed", after: number}} Resumed
 * @typedef {{type: "done", id: number | null, data: Line | null, stats: Stats | null}} Done
 *   the last event; null if `follow` finds that nothing came after `after`
 * @typedef {Accepted | Status | Chunk | Reconnecting | Resumed | Done} ChatEvent
 *
 * @typedef {{url?: string, key?: string, resume?: number, signal?: AbortSignal}} Common
 *   `url` is the gateway's address, in a page by default the page's own; `resume` for how many seconds the answer
 *   waits for a lost connection, 0 if it must not; an abort of `signal` stops the answer
 * @typedef {Common & {model: string, messages: Message[], options?: object, [field: string]: unknown}} Question
 *   further fields are sent as they are, such as `think` and `format`
 */

const FIRST_DELAY = 0.5;
const LONGEST_DELAY = 5;

// Three heartbeats of the gateway: what is silent for longer is a connection that has died unnoticed.
const LONGEST_SILENCE = 45;

/** What went wrong; `code` is the gateway's. `status` is 0 if there was no answer, or it failed midway. */
export class SluiceError extends Error {
  name = "SluiceError";

  /**
   * @param {string} message
   * @param {{code?: string, status?: number, retryAfter?: number | null, requestId?: string | null}} [details]
   */
  constructor(message, { code = "error", status = 0, retryAfter = null, requestId = null } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }

  /** @param {Response} response  one that is not ok */
  static async of(response) {
    const text = await response.text().catch(() => "");
    const seconds = response.headers.get("retry-after");
    return SluiceError.in(text, `HTTP ${response.status} ${response.statusText}`.trim(), {
      status: response.status,
      retryAfter: seconds && /^\d+$/.test(seconds) ? Number(seconds) : null,
      requestId: response.headers.get("x-request-id"),
    });
  }

  /**
   * @param {string} text  JSON with an `error`, an object or a string
   * @param {string} otherwise
   * @param {{status?: number, retryAfter?: number | null, requestId?: string | null}} [details]
   */
  static in(text, otherwise, details = {}) {
    const error = parsed(text)?.error;
    if (typeof error === "string") return new SluiceError(error, details);
    const { message = otherwise, code, request_id: requestId = details.requestId } = error ?? {};
    return new SluiceError(String(message), { ...details, code, requestId });
  }
}

/** Parses an event stream, wherever it is split; one for each connection. */
export class EventStreamParser {
  /** The time to wait before reconnecting that the server asks for, in milliseconds. @type {number | null} */
  retry = null;
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
    /** @type {{event: string, data: string, id: string}[]} */
    const events = [];
    if (!text) return events;
    const ends = /\r\n?|\n/g;
    let start = this.#endedWithCr && text[0] === "\n" ? 1 : 0;
    ends.lastIndex = start;
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      this.#take(this.#line + text.slice(start, end.index), events);
      this.#line = "";
      start = ends.lastIndex;
    }
    this.#line += text.slice(start);
    this.#endedWithCr = text.endsWith("\r");
    return events;
  }

  /**
   * @param {string} line
   * @param {{event: string, data: string, id: string}[]} events
   */
  #take(line, events) {
    if (!line) {
      if (this.#data) events.push({ event: this.#event || "message", data: this.#data.slice(0, -1), id: this.#id });
      this.#data = this.#event = "";
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") this.#data += `${value}\n`;
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}

/**
 * Ask for an answer. Leaving the loop stops it, as an abort does.
 *
 * @param {Question} question
 * @returns {AsyncGenerator<ChatEvent, void, undefined>}
 */
export async function* chat({ url = "", key, resume = 60, signal, ...body }) {
  signal?.throwIfAborted();
  const began = performance.now();
  const line = new Connection(signal);
  /** @type {Record<string, string>} */
  const prefer = resume ? { Prefer: `resume=${resume}` } : {};
  const posted = line.open(address(url, "chat"), key, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...prefer },
    body: JSON.stringify(body),
  });
  let response;
  try {
    response = await unlessAborted(posted, signal);
  } catch (error) {
    if (signal?.aborted) {
      // The answer has begun without anybody who reads it, and its address is about to come.
      posted.then((late) => leave(late.headers.get("location")), () => {});
    } else {
      line.close();
    }
    throw signal?.aborted ? signal.reason : unreachable(error);
  }
  if (!response.ok) {
    const error = await SluiceError.of(response);
    line.close();
    throw error;
  }
  const location = response.headers.get("location");
  const applied = /resume=(\d+)/.exec(response.headers.get("preference-applied") ?? "");
  const answer = new Answer({ url, key, location, signal, resume: applied ? Number(applied[1]) : resume, began });
  yield {
    type: "accepted",
    location,
    requestId: response.headers.get("x-request-id"),
    limits: limits(response.headers),
  };
  try {
    yield* answer.read(line, response);
  } finally {
    if (!answer.ended) leave(location);
  }

  /** @param {string | null} known */
  function leave(known) {
    line.close();
    if (known) stop({ url, key, location: known }).catch(() => {});
  }
}

/**
 * Read an answer that is already running, or has ended, after the event with the id `after`. Leaving the loop only
 * leaves it; an abort stops it.
 *
 * @param {Common & {location: string, after?: number}} options
 * @returns {AsyncGenerator<ChatEvent, void, undefined>}
 */
export async function* follow({ url = "", key, location, after = 0, resume = 60, signal }) {
  signal?.throwIfAborted();
  const answer = new Answer({ url, key, location, after, resume, signal });
  yield { type: "accepted", location, requestId: null, limits: null };
  yield* answer.read();
}

/**
 * Stop and forget an answer.
 *
 * @param {{url?: string, key?: string, location: string}} options
 */
export async function stop({ url = "", key, location }) {
  const response = await fetch(answerAddress(url, location), {
    method: "DELETE",
    headers: authorization(key),
    keepalive: true, // also while the page is left
  }).catch((error) => {
    throw unreachable(error);
  });
  if (!response.ok && response.status !== 404) throw await SluiceError.of(response);
}

/** An answer over any number of connections. */
class Answer {
  ended = false;
  #last;
  #heard = performance.now();
  /** @type {number | null} */
  #firstToken = null;

  /** @param {Common & {location: string | null, after?: number, began?: number}} options */
  constructor({ url = "", key, location, after = 0, resume = 60, signal, began }) {
    this.url = url;
    this.key = key;
    this.location = location;
    this.resume = resume;
    this.signal = signal;
    this.began = began;
    this.#last = after;
  }

  /**
   * @param {Connection} [line]  the first connection, with its response; without one, there is none yet
   * @param {Response} [response]
   * @returns {AsyncGenerator<ChatEvent, void, undefined>}
   */
  async *read(line, response) {
    try {
      for (let attempt = 0, isFirst = !line; !this.ended; isFirst = false) {
        if (line && response) {
          line.isKept = this.location !== null;
          const before = this.#heard;
          yield* this.#events(line, response);
          if (this.ended) return;
          if (this.#heard > before) attempt = 0;
        }
        line?.close();
        if (!this.location) throw lost();
        if (!isFirst) {
          if (attempt && isOnline() && performance.now() - this.#heard > this.resume * 1000) throw lost();
          const seconds = Math.min(FIRST_DELAY * 2 ** attempt, LONGEST_DELAY);
          yield { type: "reconnecting", attempt: ++attempt, seconds };
          await delay(seconds, this.signal);
        }
        line = new Connection(this.signal);
        response = await this.#reopen(line);
        if (response?.status === 204) {
          this.ended = true;
          yield { type: "done", id: this.#last, data: null, stats: null };
        } else if (response && !isFirst) {
          yield { type: "resumed", after: this.#last };
        }
      }
    } catch (error) {
      if (this.signal?.aborted && this.location && !this.ended) {
        stop({ url: this.url, key: this.key, location: this.location }).catch(() => {});
        this.ended = true;
      }
      throw error;
    } finally {
      line?.close();
    }
  }

  /**
   * @param {Connection} line
   * @returns {Promise<Response | undefined>}  nothing if it is worth another try
   */
  async #reopen(line) {
    let response;
    try {
      const headers = { "Last-Event-ID": String(this.#last) };
      response = await line.open(answerAddress(this.url, this.location ?? ""), this.key, { headers });
    } catch {
      this.signal?.throwIfAborted();
      return undefined;
    }
    if (response.ok) return response;
    const error = await SluiceError.of(response);
    if (![429, 502, 503, 504].includes(response.status)) throw error;
    line.close();
    return undefined;
  }

  /**
   * @param {Connection} line
   * @param {Response} response
   * @returns {AsyncGenerator<ChatEvent, void, undefined>}  until the answer or the connection ends
   */
  async *#events(line, response) {
    const parser = new EventStreamParser();
    for (;;) {
      const bytes = await line.read(response);
      if (!bytes) return;
      this.#heard = performance.now();
      for (const { event, data, id } of parser.push(bytes)) {
        if (event === "status") {
          yield { type: "status", state: "", ...parsed(data) };
        } else if ((event === "message" || event === "error") && this.#isNext(id)) {
          if (event === "error") {
            this.ended = true;
            throw SluiceError.in(data, "The answer has failed.");
          }
          yield* this.#line(data, id);
          if (this.ended) return;
        }
      }
    }
  }

  /**
   * Whether the event has not been read before.
   *
   * @param {string} id
   */
  #isNext(id) {
    if (!/^\d+$/.test(id)) return true;
    if (Number(id) <= this.#last) return false;
    if (Number(id) > this.#last + 1) {
      throw new SluiceError(`Event ${this.#last + 1} of the answer is missing.`, { code: "event_missing" });
    }
    this.#last = Number(id);
    return true;
  }

  /**
   * @param {string} text
   * @param {string} said
   * @returns {Generator<ChatEvent, void, undefined>}
   */
  *#line(text, said) {
    /** @type {Line | undefined} */
    const data = parsed(text);
    if (!data) throw new SluiceError("An event of the answer is not JSON.", { code: "bad_event" });
    const id = Number(said) || null;
    const { content = "", thinking = "" } = data.message ?? {};
    if (content || thinking) this.#firstToken ??= performance.now();
    if (content || thinking || !data.done) yield { type: "chunk", id, text: content, thinking, data };
    if (!data.done) return;
    this.ended = true;
    yield { type: "done", id, data, stats: this.#stats(data) };
  }

  /** @param {Line} data */
  #stats({ prompt_eval_count: input, eval_count: output, eval_duration: nanoseconds }) {
    const first = this.began === undefined || this.#firstToken === null ? null : this.#firstToken - this.began;
    return {
      inputTokens: typeof input === "number" ? input : null,
      outputTokens: typeof output === "number" ? output : null,
      tokensPerSecond:
        typeof output === "number" && typeof nanoseconds === "number" && nanoseconds > 0
          ? (output * 1e9) / nanoseconds
          : null,
      firstTokenSeconds: first === null ? null : first / 1000,
    };
  }
}

/** One request. If its answer is kept, it ends when it is silent for too long or the browser is offline. */
class Connection {
  isKept = false;
  #abort = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  #cut = () => this.#abort.abort();
  #cutIfKept = () => this.isKept && this.#cut();
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #reader;

  /** @param {AbortSignal | undefined} signal  ends it once its head is there */
  constructor(signal) {
    this.signal = signal;
  }

  /**
   * @param {string} where
   * @param {string | undefined} key
   * @param {RequestInit} init
   */
  async open(where, key, init) {
    const headers = { ...init.headers, ...authorization(key) };
    const response = await fetch(where, { ...init, headers, cache: "no-store", signal: this.#abort.signal });
    this.signal?.addEventListener("abort", this.#cut);
    globalThis.addEventListener?.("offline", this.#cutIfKept);
    return response;
  }

  /**
   * @param {Response} response
   * @returns {Promise<Uint8Array | undefined>}  nothing once it has ended, in whatever way
   */
  async read(response) {
    this.#reader ??= response.body?.getReader();
    clearTimeout(this.#silence);
    this.#silence = setTimeout(this.#cutIfKept, LONGEST_SILENCE * 1000);
    try {
      return (await this.#reader?.read())?.value;
    } catch {
      return undefined;
    } finally {
      this.signal?.throwIfAborted();
    }
  }

  close() {
    clearTimeout(this.#silence);
    this.signal?.removeEventListener("abort", this.#cut);
    globalThis.removeEventListener?.("offline", this.#cutIfKept);
    this.#abort.abort();
  }
}

/**
 * @param {string} url
 * @param {string} path
 */
function address(url, path) {
  return new URL(path, url ? `${url.replace(/\/+$/, "")}/` : globalThis.document?.baseURI).href;
}

/**
 * Below `url`, whatever is before the id in `location`: the gateway does not know by what prefix it is reached.
 *
 * @param {string} url
 * @param {string} location
 */
function answerAddress(url, location) {
  return address(url, `chat/${location.split("/").pop()}`);
}

function isOnline() {
  return globalThis.navigator?.onLine !== false;
}

/** @param {string | undefined} key @returns {Record<string, string>} */
function authorization(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** @param {string} text @returns {any} */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @param {unknown} error */
function unreachable(error) {
  const message = `The gateway cannot be reached (${error instanceof Error ? error.message : error}).`;
  return new SluiceError(message, { code: "unreachable" });
}

function lost() {
  return new SluiceError("The connection was lost before the answer was complete.", { code: "connection_lost" });
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<T>}
 */
function unlessAborted(promise, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort);
    promise.then(resolve, reject).finally(() => signal?.removeEventListener("abort", abort));
  });
}

/**
 * Until so many seconds are over or the browser is online again. Throws if the signal is aborted.
 *
 * @param {number} seconds
 * @param {AbortSignal | undefined} signal
 */
async function delay(seconds, signal) {
  let over = () => {};
  const timer = setTimeout(() => over(), seconds * 1000);
  const online = () => over();
  globalThis.addEventListener?.("online", online);
  try {
    await unlessAborted(/** @type {Promise<void>} */ (new Promise((resolve) => (over = resolve))), signal);
  } finally {
    clearTimeout(timer);
    globalThis.removeEventListener?.("online", online);
  }
}

/**
 * @param {Headers} headers
 * @returns {Limits | null}
 */
function limits(headers) {
  /** @type {Limits} */
  const found = {};
  for (const unit of /** @type {const} */ (["requests", "tokens"])) {
    const [limit, remaining, reset] = ["limit", "remaining", "reset"].map((field) =>
      headers.get(`x-ratelimit-${field}-${unit}`),
    );
    if (limit === null) continue;
    const [, hours = 0, minutes = 0, seconds = 0] = /(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?/.exec(reset ?? "") ?? [];
    found[unit] = {
      limit: Number(limit),
      remaining: Number(remaining),
      reset: Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds),
    };
  }
  return Object.keys(found).length ? found : null;
}
