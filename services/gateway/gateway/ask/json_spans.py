"""Finds the members of a JSON object in its bytes, without decoding their values: RFC 8259.

A request body may have ten megabytes, of which the gateway needs a few members. A decoder would build all of
it while it blocks the event loop, and would keep only the last of several members of the same name, although
servers differ in which one they use. Here every member is found, in order and with its position. The inside
of a value is not validated: the model server does that when it decodes it.

The functions are generators that yield after about a millisecond of work, so that the caller can let other
tasks run. They raise InvalidRequest.
"""

import json
import re
from collections.abc import Generator
from typing import NamedTuple, TypeVar

from ..errors import InvalidRequest

# Far above any real request, and cheap to detect.
MAX_DEPTH = 500
MAX_PARTS = 200_000
MAX_FIELDS = 1000

# Work between two yields: iterations of a loop, or bytes.
STEPS_BETWEEN_YIELDS = 1000
BYTES_BETWEEN_YIELDS = 256 * 1024

# Each pattern is bounded, so that no match takes long; real requests stay far below the bounds.
SPACE = re.compile(rb"[ \t\n\r]{0,65536}+")
# The name of a field, with its colon.
FIELD = re.compile(
    rb'("[^"\\]{0,4000}+(?:\\.[^"\\]{0,200}+){0,1000}+")[ \t\n\r]{0,65536}+:[ \t\n\r]{0,65536}+', re.DOTALL
)
NEXT = re.compile(rb"[ \t\n\r]{0,65536}+([,\]}])[ \t\n\r]{0,65536}+")
SCALAR = re.compile(rb'[^\s"\[\]{},:]{1,4096}+')
# Part of a string from an escape on: a string with very many escapes takes several matches.
TEXT = re.compile(rb'(?:\\.[^"\\]{0,1000}+){0,16}+', re.DOTALL)
# Everything but brackets, long strings and strings with escapes.
FLAT = re.compile(rb'(?:[^"\[\]{}]{1,8192}+|"[^"\\]{0,256}+"){0,50}+')

QUOTE, OPENING, CLOSING = ord('"'), b"[{", b"]}"
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # gzip, zstd
NOT_AN_OBJECT = {
    "array": re.compile(rb"\["),
    "string": re.compile(rb'"'),
    "number": re.compile(rb"-?\d"),
    "boolean": re.compile(rb"(true|false)\b"),
    "null": re.compile(rb"null\b"),
}


class Span(NamedTuple):
    """Position of a value in the body."""

    start: int
    end: int


Found = TypeVar("Found")
Steps = Generator[None, None, Found]


def document(body: bytes) -> Steps[list[tuple[str, Span]]]:
    """The members of `body`, which must be a single object."""
    start = _spaces(body, 0)
    if start == len(body):
        raise InvalidRequest("the request body is empty; send a JSON object")
    if body[start] != ord("{"):
        raise InvalidRequest(_not_an_object(body, start))
    found, end = yield from _members(body, start)
    end = _spaces(body, end)
    if end < len(body):
        raise InvalidRequest(f"the request body has extra data after its JSON object, {_position(body, end)}")
    return found


def members(body: bytes, span: Span) -> Steps[list[tuple[str, Span]]]:
    """The members of the value at `span`; none if it is not an object."""
    if body[span.start] != ord("{"):
        return []
    found, _ = yield from _members(body, span.start)
    return found


def items(body: bytes, span: Span, most: int = MAX_PARTS) -> Steps[list[Span]]:
    """The first `most` items of the value at `span`; none if it is not an array."""
    found: list[Span] = []
    if body[span.start] != ord("["):
        return found
    at = _spaces(body, span.start + 1)
    while at < span.end - 1 and len(found) < most:
        item = yield from _value(body, at)
        found.append(item)
        at = _next(body, item.end)[1]
    return found


def after_comma(body: bytes, end: int) -> int:
    """Where the member behind the one that ends at `end` begins; `end` if there is none."""
    mark, at = _next(body, end)
    return at if mark == b"," else end


def _members(body: bytes, at: int) -> Steps[tuple[list[tuple[str, Span]], int]]:
    """The members of the object that begins at `at`, and the position of its end."""
    found: list[tuple[str, Span]] = []
    at = _spaces(body, at + 1)
    if body[at : at + 1] == b"}":
        return found, at + 1
    while True:
        field = FIELD.match(body, at)
        if not field:
            raise _malformed(body, at, "expected a field name and a colon")
        span = yield from _value(body, field.end())
        found.append((_name(body, *field.span(1)), span))
        if len(found) > MAX_FIELDS:
            raise InvalidRequest(f"the request body has an object of more than {MAX_FIELDS} fields")
        if not len(found) % 100:
            yield
        mark, at = _next(body, span.end)
        if mark == b"}":
            return found, at


def _value(body: bytes, at: int) -> Steps[Span]:
    if scalar := SCALAR.match(body, at):
        return Span(at, scalar.end())
    first = body[at : at + 1]
    if first == b'"':
        return Span(at, (yield from _string_end(body, at + 1)))
    if first and first in OPENING:
        return Span(at, (yield from _nested_end(body, at)))
    raise _malformed(body, at, "expected a value")


def _string_end(body: bytes, at: int) -> Steps[int]:
    """The position after the string that contains `at`."""
    start, steps, end = at, 0, -1
    while True:
        # bytes.find is many times faster than matching a pattern.
        if end < at:
            end = body.find(b'"', at)
        if end < 0:
            raise InvalidRequest(f"the request body ends within the string {_position(body, start - 1)}")
        escape = body.find(b"\\", at, end)
        if escape < 0:
            return end + 1
        at = TEXT.match(body, escape).end()  # type: ignore[union-attr]  # it also matches nothing
        steps += 1
        if not steps % STEPS_BETWEEN_YIELDS:
            yield


def _nested_end(body: bytes, at: int) -> Steps[int]:
    """The position after the bracket that closes the one at `at`. The kind of bracket is not checked."""
    start, steps, parts, depth = at, 0, 0, 0
    size, rest = len(body), at + BYTES_BETWEEN_YIELDS
    while True:
        at = FLAT.match(body, at).end()  # type: ignore[union-attr]  # it also matches nothing
        if at >= size:
            raise InvalidRequest(f"the request body ends within the value {_position(body, start)}")
        byte = body[at]
        if byte in OPENING:
            depth += 1
            parts += 1
            at += 1
            if depth > MAX_DEPTH:
                raise InvalidRequest(f"the request body is nested more than {MAX_DEPTH} levels deep")
            if parts > MAX_PARTS:
                raise InvalidRequest(f"the request body has more than {MAX_PARTS} objects and arrays")
        elif byte in CLOSING:
            depth -= 1
            at += 1
            if not depth:
                return at
        elif byte == QUOTE:
            at = yield from _string_end(body, at + 1)
        steps += 1
        if not steps % STEPS_BETWEEN_YIELDS or at > rest:
            rest = at + BYTES_BETWEEN_YIELDS
            yield


def _spaces(body: bytes, at: int) -> int:
    return SPACE.match(body, at).end()  # type: ignore[union-attr]  # it also matches nothing


def _next(body: bytes, at: int) -> tuple[bytes, int]:
    """The delimiter after a value, and the position of what follows."""
    found = NEXT.match(body, at)
    if not found:
        raise _malformed(body, at, "expected a comma or a closing bracket")
    return found[1], found.end()


def _name(body: bytes, start: int, end: int) -> str:
    """Decode the field name in this span."""
    text = body[start:end].decode(errors="replace")
    if "\\" not in text:
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError:
        raise _malformed(body, start, "invalid field name") from None


def _malformed(body: bytes, at: int, reason: str) -> InvalidRequest:
    if at >= len(body):
        return InvalidRequest(f"the request body is truncated: {reason} at its end")
    return InvalidRequest(f"the request body is not valid JSON: {reason} {_position(body, at)}")


def _not_an_object(body: bytes, at: int) -> str:
    if body.startswith(BYTE_ORDER_MARKS):
        return "the request body begins with a byte order mark; send JSON in UTF-8 without one"
    if body.startswith(COMPRESSED):
        return "the request body is compressed; send it uncompressed, without Content-Encoding"
    for kind, pattern in NOT_AN_OBJECT.items():
        if pattern.match(body, at):
            return f"the request body is a JSON {kind}; send an object, {{…}}"
    return f"the request body is not valid JSON: expected an object {_position(body, at)}"


def _position(body: bytes, at: int) -> str:
    """Line and column for editors, byte offset for programs."""
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    return f"at line {line}, column {column} (byte {at})"
