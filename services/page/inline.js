// Markdown within a line: code, bold, italic, links. Makes elements and text nodes, never HTML.

import { make } from "./dom.js";

const CODE = /(?<!`)(?<ticks>`+)(?!`)(?<code>.{1,500}?)(?<!`)\k<ticks>(?!`)/;
const STRESS = /(?<mark>\*{1,3}|(?<!\w)_{1,3})(?![\s*_])(?<stressed>.{1,500}?)(?<![\s*_])\k<mark>(?!\*|(?<=_)\w)/;
const LINK = /\[(?<label>[^[\]\n]+)\]\((?<target>https?:\/\/(?:[^\s()<>]|\([^\s()<>]*\))+)\)/;
const ADDRESS = /(?<!\w)(?<address>https?:\/\/[^\s<>"'`*[\]]+[^\s<>"'`*[\]().,:;!?])/;
const ANY = new RegExp([CODE, STRESS, LINK, ADDRESS].map(({ source }) => source).join("|"), "gs");

/** The nodes for `text`. */
export function inline(text) {
	const nodes = [];
	let end = 0;
	for (const found of text.matchAll(ANY)) {
		nodes.push(text.slice(end, found.index), ...nodesOf(found.groups));
		end = found.index + found[0].length;
	}
	return [...nodes, text.slice(end)];
}

function nodesOf({ code, mark, stressed, label, target, address }) {
	if (code) return [make("code", {}, code)];
	if (mark) {
		const strong = mark.length > 1 ? [make("strong", {}, ...inline(stressed))] : inline(stressed);
		return mark.length === 2 ? strong : [make("em", {}, ...strong)];
	}
	const href = target ?? address;
	return [make("a", { href, rel: "noopener noreferrer", target: "_blank", title: href }, label ?? href)];
}
