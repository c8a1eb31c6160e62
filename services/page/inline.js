// Markdown within a line: code, bold, italic, links. Makes elements and text nodes, never HTML.

import { make } from "./dom.js";

const CODE = /(?<!`)(?<ticks>`+)(?!`)(?<code>.+?)(?<!`)\k<ticks>(?!`)/;
const STRESS = /(?<mark>\*{1,3}|(?<!\w)_{1,3})(?![\s*_])(?<stressed>.+?)(?<![\s*_])\k<mark>(?!\*|(?<=_)\w)/;
const LINK = /\[(?<label>[^[\]\n]+)\]\((?<target>https?:\/\/(?:[^\s()<>]|\([^\s()<>]*\))+)\)/;
const ADDRESS = /(?<!\w)(?<address>https?:\/\/[^\s<>"'`*[\]]+[^\s<>"'`*[\]().,:;!?])/;
const ESCAPED = /\\(?<escaped>[*_`#])/;
const ANY = new RegExp([CODE, STRESS, LINK, ADDRESS, ESCAPED].map(({ source }) => source).join("|"), "gs");

/** Show `text` in `element`, whose nodes stay as they are up to where they differ. */
export function showInline(element, text) {
	const nodes = inline(text);
	const shown = element.childNodes;
	let same = 0;
	while (same < shown.length && nodes[same]?.isEqualNode(shown[same])) same++;
	const [old, now] = [shown[same], nodes[same]];
	if (same === shown.length - 1 && old.nodeName === "#text" && now?.data?.startsWith(old.data)) {
		old.appendData(now.data.slice(old.length));
		same++;
	}
	while (shown.length > same) element.lastChild.remove();
	element.append(...nodes.slice(same));
}

function inline(text) {
	const nodes = [];
	let end = 0;
	for (const found of text.matchAll(ANY)) {
		nodes.push(text.slice(end, found.index), ...nodesOf(found.groups));
		end = found.index + found[0].length;
	}
	const fragment = document.createDocumentFragment();
	fragment.append(...nodes, text.slice(end));
	fragment.normalize();
	return [...fragment.childNodes];
}

function nodesOf({ code, mark, stressed, label, target, address, escaped }) {
	if (code) return [make("code", {}, code)];
	if (escaped) return [escaped];
	if (mark) {
		const strong = mark.length > 1 ? [make("strong", {}, ...inline(stressed))] : inline(stressed);
		return mark.length === 2 ? strong : [make("em", {}, ...strong)];
	}
	const href = target ?? address;
	return [make("a", { href, rel: "noopener noreferrer", target: "_blank", title: href }, label ?? href)];
}
