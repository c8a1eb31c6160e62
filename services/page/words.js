// What the page says.

export const number = (value) => Math.round(value).toLocaleString("en");

export function duration(seconds) {
	const whole = Math.max(Math.ceil(seconds), 0);
	if (whole < 100) return `${whole} s`;
	return whole < 5400 ? `${Math.round(whole / 60)} minutes` : `${Math.round(whole / 3600)} hours`;
}

export const size = (bytes) => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

const BY_CODE = {
	unreachable: "The gateway cannot be reached. Check your connection, and that it runs; then ask again.",
	connection_lost: "The connection was lost in mid-answer and did not come back in time. Ask again.",
	answer_not_found: "The rest of this answer is not kept any longer. Ask again.",
	answer_not_kept: "This answer was too long to be kept. Ask again.",
	answer_stopped: "The answer was stopped.",
	model_not_found: "This model is not installed, or your key may not use it. Choose another one.",
};
const BY_STATUS = {
	401: "This gateway needs a key. Enter one to go on.",
	403: "You may not do this:",
	413: "This conversation is too large to be sent. Begin a new one, or edit an earlier question.",
	429: "A limit is reached:",
	502: "The model server has failed. Ask again; if it fails again, tell whoever runs it. It says:",
	503: "The gateway is busy:",
	504: "The model server is too slow. Ask again later. The gateway says:",
};

/** What has gone wrong, and what to do. */
export function failure({ status, code, message }) {
	const words = BY_CODE[code] ?? BY_STATUS[status] ?? "This has failed:";
	return words.endsWith(":") ? `${words} ${message.replace(/[^.!?]$/, "$&.")}` : words;
}

/** What an answer waits for; `seconds` ago it was told so. */
export function waiting({ state, ...fields }, seconds) {
	const left = fields.eta_seconds === undefined ? "" : `, about ${duration(fields.eta_seconds - seconds)} left`;
	if (state === "queued") return `In the queue: place ${fields.position} of ${fields.of}${left}`;
	if (state === "loading") return `Loading ${fields.model ?? "the model"}: ${duration((fields.elapsed_seconds ?? 0) + seconds)}${left}`;
	if (state === "reconnecting") return `Connection lost. Reconnecting, attempt ${fields.attempt}…`;
	if (state === "not_resumable") return "This answer is too long to be kept: a reload would lose it.";
	return state === "answering" ? "" : "Waiting for the first token…";
}

export function figures({ firstTokenSeconds, tokensPerSecond, outputTokens, server }) {
	return [
		firstTokenSeconds && `first token after ${firstTokenSeconds.toFixed(2)} s`,
		tokensPerSecond && `${tokensPerSecond.toFixed(1)} tokens/s`,
		outputTokens && `${number(outputTokens)} tokens`,
		server && `from ${server}`,
	].filter(Boolean).join(" · ");
}

const WINDOWS = { 1: "second", 60: "minute", 3600: "hour", 86400: "day" };

/** What `/usage` says. */
export function limits({ limits: { requests, tokens } }) {
	const left = (unit) => ({ limit, remaining, seconds }) =>
		`${number(remaining)} of ${number(limit)} ${unit} a ${WINDOWS[seconds]} left`;
	return [...requests.map(left("requests")), ...tokens.map(left("tokens"))].join(" · ");
}
