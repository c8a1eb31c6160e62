"""Limits the length of answers: in the request's body, lowers the number of tokens that it asks for.

A limit that is absent, null or below one means an unlimited answer to some server, so it is added or
replaced. A value that is not a number is left for the model server to refuse, and all other bytes stay the
same. Ollama uses the last of several fields and matches their names without regard to case, except those in
`options`, and it merges several `options`: `encoding/json` and `Options.FromMap` in its source.
"""

from collections.abc import Sequence

from ..access.caller import Caller
from ..errors import InvalidRequest
from ..settings import Settings
from .fields import Fields, value_at
from .json_spans import Span, Steps, members
from .route import Route

# Far above any real request; each edit is made while the event loop is blocked.
MAX_EDITS = 100

# First bytes of numbers in JSON.
NUMBER = b"-0123456789"


def max_output(settings: Settings, caller: Caller) -> int | None:
    """The most tokens that an answer to this caller may have; None: any number."""
    limits = (settings.max_output_tokens, caller.limits.max_output)
    return min((limit for limit in limits if limit), default=None)


def limited(body: bytes, fields: Fields, route: Route, most: int) -> Steps[bytes]:
    """`body`, whose fields are `fields`, with a limit of at most `most` tokens. Raises InvalidRequest."""
    if not fields or not route.length_fields:
        return body
    limit = _Limit(body, route.length_fields, most)
    if route.has_options:
        yield from _limit_options(limit, body, fields.members)
    else:
        yield from limit.lower(fields.members, body.index(b"{"))
    return limit.edited()


def _limit_options(limit: "_Limit", body: bytes, found: Sequence[tuple[str, Span]]) -> Steps[None]:
    """Limit each of several `options`, since other servers than Ollama do not merge them."""
    is_missing = True
    for name, span in found:
        if name.casefold() == "options":
            is_missing = body.startswith(b"null", span.start)
            if is_missing:
                limit.forget()  # null discards what precedes it
            elif body.startswith(b"{", span.start):
                yield from limit.lower((yield from members(body, span)), span.start)
    if is_missing:
        limit.add(found, body.index(b"{"), b'"options":{%b}')


class _Limit:
    """The edits that limit one request. `names` are those of the limit, the first one is required."""

    def __init__(self, body: bytes, names: Sequence[str], most: int) -> None:
        self._body = body
        self._names = names
        self._most = most
        self._requested = most  # the limit found, lowered
        self._edits: list[tuple[int, int, bytes]] = []

    def lower(self, found: Sequence[tuple[str, Span]], start: int) -> Steps[None]:
        """Lower the limits in `found`, the members of the object at `start`, and add one if there is none."""
        is_missing, is_requested = True, False
        for count, (name, span) in enumerate(found, 1):
            folded = name.casefold()
            if folded in self._names:
                is_null = self._body.startswith(b"null", span.start)
                if self._body[span.start] in NUMBER:
                    lowered = self._lower_number(value_at(self._body, span), span)
                    # Of the required name, in any case, the last one counts; of the others, if it is missing.
                    if folded == self._names[0] or not is_requested:
                        self._requested = lowered
                    is_requested |= folded == self._names[0]
                if name == self._names[0] or (folded == self._names[0] and is_null):
                    is_missing = is_null
            if not count % 10:
                yield
        if is_missing:
            self.add(found, start)

    def add(self, found: Sequence[tuple[str, Span]], start: int, member: bytes = b"%b") -> None:
        """Add the limit behind the last of `found`, the members of the object at `start`."""
        text = member % (b'"%b":%d' % (self._names[0].encode(), self._requested))
        if found:
            self._edit(found[-1][1].end, found[-1][1].end, b"," + text)
        else:
            self._edit(start + 1, start + 1, text)

    def forget(self) -> None:
        self._requested = self._most

    def edited(self) -> bytes:
        """The body with all edits."""
        if not self._edits:
            return self._body
        body, at = memoryview(self._body), 0
        parts: list[memoryview | bytes] = []
        for start, end, text in self._edits:
            parts += [body[at:start], text]
            at = end
        return b"".join([*parts, body[at:]])

    def _lower_number(self, value: object, span: Span) -> int:
        if isinstance(value, int | float) and 1 <= value <= self._most:
            return int(value)
        self._edit(span.start, span.end, b"%d" % self._most)
        return self._most

    def _edit(self, start: int, end: int, text: bytes) -> None:
        if len(self._edits) == MAX_EDITS:
            raise InvalidRequest(f"the request limits its answer with {self._names[0]} too many times")
        self._edits.append((start, end, text))
