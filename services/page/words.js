// What the page says.

export const number = (value) => Math.round(value).toLocaleString("en");

export function duration(seconds) {
	return seconds < 100 ? `${Math.max(Math.ceil(seconds), 0)} s` : `${Math.round(seconds / 60)} minutes`;
}

export const size = (bytes) => (bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

const FAILURES = {
	unreachable: "The gateway cannot be reached. Check that it runs and that you are online, then ask again.",
	connection_lost: "The connection was lost. Ask again.",
	answer_not_found: "The rest of this answer is gone, because you were away for too long. Ask again.",
	model_not_found: "This model is not installed, or your key may not use it. Choose another one.",
	401: "This gateway needs a key. Enter one to go on.",
	403: "You may not do this:",
	429: "A limit is reached:",
	502: "The model server has failed. Ask again, or tell whoever runs it:",
	503: "The gateway is busy:",
};

/** What has gone wrong, and what to do. */
export function failure({ status, code, message }) {
	const words = FAILURES[code] ?? FAILURES[status] ?? "This has failed:";
	return words.endsWith(":") ? `${words} ${message.replace(/[^.!?]$/, "$&.")}` : words;
}

/** What an answer waits for, as it was told `seconds` ago. */
export function waiting({ state, position, of, model, attempt, elapsed_seconds: elapsed = 0, eta_seconds: eta }, seconds) {
	const left = eta === undefined ? "" : `, about ${duration(eta - seconds)} left`;
	if (state === "queued") return `In the queue: place ${position} of ${of}${left}`;
	if (state === "loading") return `Loading ${model}: ${duration(elapsed + seconds)}${left}`;
	if (state === "reconnecting") return `Connection lost. Reconnecting, attempt ${attempt}…`;
	if (state === "not_resumable") return "This answer is too long to be kept: a reload would lose it.";
	return { asked: "Asking…", writing: "" }[state] ?? "Waiting for the first token…";
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
