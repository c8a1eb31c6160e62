"""Limits on requests: far above real use, and low enough that no request blocks the others.

Decoding JSON blocks the event loop, for a time that grows with the number of values and not of bytes: a
megabyte of text takes no time, a megabyte of empty lists a tenth of a second.
"""

import asyncio
import re
from collections.abc import Iterator

from ..errors import BadRequestError, TooLargeError

MAX_BYTES = 20 * 2**20
MAX_DEPTH = 500
MAX_VALUES = 100_000
MAX_MESSAGES = 5_000

# Matches whole strings, so that structure inside them does not count.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")

TOKENS_PER_STEP = 5_000


def check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise TooLargeError(f"the request body is larger than {MAX_BYTES} bytes")


async def check_structure(body: bytes) -> None:
    """Raises BadRequestError for JSON with too many levels or values; yields to other requests meanwhile."""
    for _ in _steps(body):
        await asyncio.sleep(0)


def check_structure_now(body: bytes) -> None:
    """The same without yielding, for short texts."""
    for _ in _steps(body):
        pass


def check_messages(messages: list[object]) -> None:
    if len(messages) > MAX_MESSAGES:
        raise BadRequestError(f"{len(messages)} messages; at most {MAX_MESSAGES} are allowed")


def _steps(body: bytes) -> Iterator[None]:
    """Lets malformed JSON pass: the decoder has better messages for it."""
    brackets = body.count(b"[") + body.count(b"{")
    # Also counts what is inside strings, but it is fast, and nearly always enough.
    if brackets <= MAX_DEPTH and brackets + body.count(b",") + body.count(b'"') <= MAX_VALUES:
        return
    depth = values = 0
    for number, token in enumerate(_TOKEN.finditer(body), start=1):
        first = body[token.start()]
        if first in _CLOSING:
            depth -= 1
        else:
            values += 1
            depth += first in _OPENING
        if depth > MAX_DEPTH:
            raise BadRequestError(f"exceeded max depth: at most {MAX_DEPTH} levels of JSON are allowed")
        if values > MAX_VALUES:
            raise BadRequestError(f"the request has too many values: at most {MAX_VALUES} are allowed")
        if depth < 0:
            return
        if not number % TOKENS_PER_STEP:
            yield
