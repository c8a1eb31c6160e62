"""Limits the length of answers: in the request's body, lowers the number of tokens that it asks for.

A limit that is absent, null or below one means an unlimited answer to some server, so it is added or
replaced. A value that is not a number is left for the model server to refuse, and all other bytes stay the
same. Ollama uses the last of several fields and matches their names without regard to case, except those in
`options`, and it merges several `options`: `encoding/json` and `Options.FromMap` in its source.
"""

from collections.abc import Sequence

from ..access.caller import Caller
from ..settings import Settings
from .edits import Edits, options_of
from .fields import Fields, value_at
from .json_spans import Span, Steps
from .route import Route

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
        yield from _limit_options(limit, body, fields)
    else:
        yield from limit.lower(fields.members, body.index(b"{"))
    return limit.edits.applied()


def _limit_options(limit: "_Limit", body: bytes, fields: Fields) -> Steps[None]:
    options = yield from options_of(body, fields)
    for found in options.objects:
        if found is None:
            limit.forget()
        else:
            yield from limit.lower(found.members, found.start)
    if options.is_missing:
        limit.add(fields.members, body.index(b"{"), b'"options":{%b}')


class _Limit:
    """The edits that limit one request. `names` are those of the limit, the first one is required."""

    def __init__(self, body: bytes, names: Sequence[str], most: int) -> None:
        self._body = body
        self._names = names
        self._most = most
        self._requested = most  # the limit found, lowered
        self.edits = Edits(body, f"limits its answer with {names[0]}")

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
        self.edits.add(found, start, text)

    def forget(self) -> None:
        self._requested = self._most

    def _lower_number(self, value: object, span: Span) -> int:
        if isinstance(value, int | float) and 1 <= value <= self._most:
            return int(value)
        self.edits.replace(span, b"%d" % self._most)
        return self._most
