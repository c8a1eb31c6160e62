// What the page says.

/** @typedef {import("./sluice.js").SluiceError} SluiceError */

const NUMBER = new Intl.NumberFormat("en");

/** @param {number} value */
export function number(value) {
  return NUMBER.format(Math.round(value));
}

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(Math.ceil(seconds), 0);
  if (whole < 100) return `${whole} s`;
  return whole < 5400 ? `${Math.round(whole / 60)} minutes` : `${Math.round(whole / 3600)} hours`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e9) return `${Math.ceil(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/**
 * What has gone wrong, and what to do.
 *
 * @param {SluiceError} error
 * @param {string} model
 */
export function failure({ status, code, message }, model) {
  const said = /[.!?]$/.test(message) ? message : `${message}.`;
  if (code === "unreachable") {
    return navigator.onLine
      ? "The gateway cannot be reached. Check that it is running and that you are connected to its network, then ask again."
      : "You are offline, so the gateway cannot be reached. Ask again once you are connected.";
  }
  if (code === "connection_lost") {
    return "The connection was lost before the answer was complete, and did not come back in time. Ask again.";
  }
  if (code === "answer_not_found") return "This answer is not kept any longer. Ask again.";
  if (code === "answer_not_kept") return "This answer was too long to be kept, so it cannot be read on. Ask again.";
  if (code === "answer_stopped") return "The answer was stopped.";
  if (status === 401) return "This gateway needs a key. Enter one to go on.";
  if (code === "model_not_found") {
    return `The model “${model}” is not installed here, or your key may not use it. Choose another one.`;
  }
  if (status === 403) return `You may not do this: ${said}`;
  if (status === 413) return "This conversation has become too large to be sent. Begin a new one, or edit an earlier question.";
  if (status === 429) return `A limit is reached: ${said}`;
  if (status === 503) return `The gateway is busy: ${said}`;
  if (status === 502 || status === 504) return `The model server has failed: ${said} Ask again; if it fails again, tell whoever runs it.`;
  return `The answer has failed: ${said}`;
}

/**
 * What an answer waits for.
 *
 * @param {{state: string, [field: string]: any}} status
 * @param {number} seconds  since it was told
 */
export function waiting({ state, ...fields }, seconds) {
  const left = fields.eta_seconds === undefined ? "" : `, about ${duration(fields.eta_seconds - seconds)} left`;
  if (state === "queued") return `In the queue: place ${fields.position} of ${fields.of}${left}`;
  if (state === "loading") return `Loading ${fields.model ?? "the model"} for ${duration((fields.elapsed_seconds ?? 0) + seconds)}${left}`;
  if (state === "reconnecting") return `The connection is lost. Reconnecting, attempt ${fields.attempt}…`;
  if (state === "not_resumable") return "This answer is too long to be kept: do not reload the page.";
  return "";
}

/**
 * @param {{firstTokenSeconds?: number | null, tokensPerSecond?: number | null, outputTokens?: number | null,
 *   server?: string}} figures
 */
export function figures({ firstTokenSeconds, tokensPerSecond, outputTokens, server }) {
  const parts = [];
  if (typeof firstTokenSeconds === "number") parts.push(`first token after ${firstTokenSeconds.toFixed(2)} s`);
  if (tokensPerSecond) parts.push(`${tokensPerSecond.toFixed(1)} tokens/s`);
  if (outputTokens) parts.push(`${number(outputTokens)} tokens`);
  if (server) parts.push(`from ${server}`);
  return parts.join(" · ");
}

const WINDOWS = { 1: "this second", 60: "this minute", 3600: "this hour", 86400: "today" };

/** @param {any} usage  what `/usage` says */
export function limits(usage) {
  const parts = ["requests", "tokens"].flatMap((unit) =>
    (usage.limits?.[unit] ?? []).map(
      (/** @type {{limit: number, remaining: number, seconds: keyof typeof WINDOWS}} */ { limit, remaining, seconds }) =>
        `${number(remaining)} of ${number(limit)} ${unit} left ${WINDOWS[seconds] ?? `in ${duration(seconds)}`}`,
    ),
  );
  return parts.join(" · ");
}
