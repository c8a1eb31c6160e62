// Tells what has failed.

import { $, button, make } from "./dom.js";
import { duration, failure } from "./words.js";

let countdown;

/** Without an error, what has failed is told no longer. */
export function fail(error) {
	clearInterval(countdown);
	$("error").hidden = !error;
	if (!error) return;
	const left = make("span", { ariaLive: "off" });
	const said = make("span", { dir: "auto" }, error.code ? failure(error) : error.message);
	$("error").replaceChildren(said, left, button("Dismiss", "dismiss", () => fail()));
	if (!error.retryAfter) return;
	const until = performance.now() + error.retryAfter * 1000;
	const tick = () => {
		const seconds = (until - performance.now()) / 1000;
		left.textContent = seconds > 0 ? `Ask again in ${duration(seconds)}.` : "You can ask again now.";
	};
	tick();
	countdown = setInterval(tick, 1000);
}
