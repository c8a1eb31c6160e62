"""Python's JSON syntax errors in the words of Go's decoder."""

import json
import re

_CONTEXTS = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": r"in \u hexadecimal character escape",
}
_NO_VALUE = "looking for beginning of value"
_ESCAPED = {"'": r"\'", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Matches whole strings, so that brackets inside them do not count.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def go_message(text: str, error: json.JSONDecodeError) -> str:
    reason, _, _ = error.msg.partition(": ")
    at = error.pos + {"Invalid \\escape": 1, "Illegal trailing comma before end of object": 1}.get(reason, 0)
    context = _CONTEXTS.get(reason, _NO_VALUE)
    if reason == "Invalid \\uXXXX escape":
        digits = re.compile("u[0-9a-fA-F]*").match(text, error.pos)
        at = digits.end() if digits else at
    elif reason == "Expecting ',' delimiter":
        context = "after array element" if _innermost(text[:at]) == "[" else "after object key:value pair"
    elif reason in ("Expecting value", "Illegal trailing comma before end of array"):
        at, context = _invalid_value(text, at)
    # Truncated, or followed by nothing but spaces.
    if at >= len(text) or not text[at:].strip(" \t\r\n") or reason.startswith("Unterminated string"):
        return "unexpected EOF"
    return f"invalid character {quoted(text[at])} {context}"


def quoted(character: str) -> str:
    """Go reads bytes, so it names only the first byte of a longer character."""
    if character.isascii():
        shown = character if character.isprintable() else f"\\x{ord(character):02x}"
        return f"'{_ESCAPED.get(character, shown)}'"
    return f"'{chr(character.encode('utf-8', 'replace')[0])}'"


def _invalid_value(text: str, at: int) -> tuple[int, str]:
    """Where a value that begins correctly goes wrong: `tru}`, `-}`."""
    while at < len(text) and text[at] in ", \t\r\n":
        at += 1
    for literal in ("true", "false", "null"):
        if text[at : at + 1] == literal[0]:
            matching = next(
                i for i in range(1, len(literal) + 1) if text[at + i : at + i + 1] != literal[i : i + 1]
            )
            return at + matching, f"in literal {literal} (expecting {quoted(literal[matching])})"
    if text[at : at + 1] == "-":
        return at + 1, "in numeric literal"
    return at, _NO_VALUE


def _innermost(text: str) -> str:
    """The innermost bracket that is still open at the end of a text."""
    open_brackets: list[str] = []
    for match in _TOKEN.finditer(text):
        if match[0] in "[{":
            open_brackets.append(match[0])
        elif match[0] in "]}" and open_brackets:
            open_brackets.pop()
    return open_brackets[-1] if open_brackets else ""
