"""Changes single members of a JSON body; all other bytes stay the same."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..errors import InvalidRequest
from .fields import Fields
from .json_spans import Span, Steps, after_comma, members

# Far above any real request; all edits are made while the event loop is blocked.
MAX_EDITS = 100

Members = Sequence[tuple[str, Span]]


class Edits:
    """The edits of one body, in any order; they must not overlap. `what` does the request to need them.

    The methods that edit raise InvalidRequest.
    """

    def __init__(self, body: bytes, what: str) -> None:
        self._body = body
        self._what = what
        self._edits: list[tuple[int, int, bytes]] = []

    def replace(self, span: Span, text: bytes) -> None:
        self._edit(span.start, span.end, text)

    def add(self, found: Members, start: int, member: bytes) -> None:
        """Add a member behind the last of `found`, the members of the object at `start`."""
        if found:
            self._edit(found[-1][1].end, found[-1][1].end, b"," + member)
        else:
            self._edit(start + 1, start + 1, member)

    def remove(self, found: Members, start: int, names: Collection[str]) -> None:
        """Remove the members of these names from `found`, as in `add`, each with the comma before it; behind
        it if no member before it stays.
        """
        at, is_first = start + 1, True
        for name, span in found:
            is_first = is_first and name in names
            end = after_comma(self._body, span.end) if is_first else span.end
            if name in names:
                self._edit(at, end, b"")
            at = end

    def applied(self) -> bytes:
        """The body with all edits."""
        if not self._edits:
            return self._body
        body, at = memoryview(self._body), 0
        parts: list[memoryview | bytes] = []
        for start, end, text in sorted(self._edits, key=lambda edit: edit[:2]):
            parts += [body[at:start], text]
            at = end
        return b"".join([*parts, body[at:]])

    def _edit(self, start: int, end: int, text: bytes) -> None:
        if len(self._edits) == MAX_EDITS:
            raise InvalidRequest(f"the request {self._what} too many times")
        self._edits.append((start, end, text))


class Object(NamedTuple):
    """An object of a body: the position of its bracket, and its members."""

    start: int
    members: Members


class Options(NamedTuple):
    """Each `options` of a body, which Ollama merges and other servers do not; None is a null, which discards
    those before it. `is_missing` is whether none counts.
    """

    objects: list[Object | None]
    is_missing: bool


def options_of(body: bytes, fields: Fields) -> Steps[Options]:
    found: list[Object | None] = []
    is_missing = True
    for name, span in fields.members:
        if name.casefold() == "options":
            is_missing = body.startswith(b"null", span.start)
            if is_missing:
                found.append(None)
            elif body.startswith(b"{", span.start):
                found.append(Object(span.start, (yield from members(body, span))))
    return Options(found, is_missing)
