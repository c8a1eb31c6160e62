"""What is wrong with a text that is not JSON, in the words of Go's decoder."""

import json
import re

_WHERE = {
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Illegal trailing comma before end of object": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Invalid control character at": "in string literal",
    "Invalid \\escape": "in string escape code",
    "Invalid \\uXXXX escape": r"in \u hexadecimal character escape",
}
_VALUE = "looking for beginning of value"
_ESCAPED = {"'": r"\'", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Strings as wholes, so that what stands inside them is not taken for structure.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def words(text: str, error: json.JSONDecodeError) -> str:
    reason, _, _ = error.msg.partition(": ")
    at = error.pos + {"Invalid \\escape": 1, "Illegal trailing comma before end of object": 1}.get(reason, 0)
    where = _WHERE.get(reason, _VALUE)
    if reason == "Invalid \\uXXXX escape":
        digits = re.compile("u[0-9a-fA-F]*").match(text, error.pos)
        at = digits.end() if digits else at
    elif reason == "Expecting ',' delimiter":
        where = "after array element" if _innermost(text[:at]) == "[" else "after object key:value pair"
    elif reason in ("Expecting value", "Illegal trailing comma before end of array"):
        at, where = _value(text, at)
    # What is cut off; spaces don't make it any longer.
    if at >= len(text) or not text[at:].strip(" \t\r\n") or reason.startswith("Unterminated string"):
        return "unexpected EOF"
    return f"invalid character {quoted(text[at])} {where}"


def quoted(character: str) -> str:
    """Go looks at bytes, so of a character of several bytes it names the first."""
    if character.isascii():
        shown = character if character.isprintable() else f"\\x{ord(character):02x}"
        return f"'{_ESCAPED.get(character, shown)}'"
    return f"'{chr(character.encode('utf-8', 'replace')[0])}'"


def _value(text: str, at: int) -> tuple[int, str]:
    """Where a value goes wrong that has begun well: `tru}`, `-}`."""
    while at < len(text) and text[at] in ", \t\r\n":
        at += 1
    for literal in ("true", "false", "null"):
        if text[at : at + 1] == literal[0]:
            right = next(
                i for i in range(1, len(literal) + 1) if text[at + i : at + i + 1] != literal[i : i + 1]
            )
            return at + right, f"in literal {literal} (expecting {quoted(literal[right])})"
    if text[at : at + 1] == "-":
        return at + 1, "in numeric literal"
    return at, _VALUE


def _innermost(text: str) -> str:
    """The bracket that is open at the end of a text."""
    opened: list[str] = []
    for match in _TOKEN.finditer(text):
        if match[0] in "[{":
            opened.append(match[0])
        elif match[0] in "]}" and opened:
            opened.pop()
    return opened[-1] if opened else ""
