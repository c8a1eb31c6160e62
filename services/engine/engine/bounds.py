"""How large a request may be: far above what anybody needs, and below what would hold the others up.

Decoding is one step that nothing else comes between, and it takes time by the number of values, not by the
bytes: a megabyte of text is read at once, a megabyte of empty lists takes a tenth of a second.
"""

import asyncio
import re
from collections.abc import Iterator

from .errors import BadRequestError, TooLargeError

MAX_BYTES = 20 * 2**20
MAX_DEPTH = 500
MAX_VALUES = 100_000
MAX_MESSAGES = 5_000

# Strings as wholes, so that what stands inside them is not taken for structure.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING = frozenset(b"[{"), frozenset(b"]}")

TOKENS_AT_ONCE = 5_000


def check_bytes(size: int) -> None:
    if size > MAX_BYTES:
        raise TooLargeError(f"the request's body is larger than {MAX_BYTES} bytes")


async def check(body: bytes) -> None:
    """Refuses JSON that is nested too deep or has too many values; others get their turn meanwhile."""
    for _ in _steps(body):
        await asyncio.sleep(0)


def check_at_once(body: bytes) -> None:
    for _ in _steps(body):
        pass


def check_messages(messages: list[object]) -> None:
    if len(messages) > MAX_MESSAGES:
        raise BadRequestError(f"{len(messages)} messages; at most {MAX_MESSAGES} are taken")


def _steps(body: bytes) -> Iterator[None]:
    """Malformed JSON passes: the decoder has better words for it."""
    opened = body.count(b"[") + body.count(b"{")
    # Those inside strings are counted too, but it is quick, and nearly always enough.
    if opened <= MAX_DEPTH and opened + body.count(b",") + body.count(b'"') <= MAX_VALUES:
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
            raise BadRequestError(f"exceeded max depth: at most {MAX_DEPTH} levels of JSON are taken")
        if values > MAX_VALUES:
            raise BadRequestError(f"the request has too many values: at most {MAX_VALUES} are taken")
        if depth < 0:
            return
        if not number % TOKENS_AT_ONCE:
            yield
