"""The fields of a request body, read as Ollama reads them, so that a field cannot have one meaning for the
gateway's checks and another for Ollama."""

import asyncio
import json
import re
from collections.abc import Container, Generator, Iterator, Sequence
from typing import TypeVar

from ..errors import InvalidRequest
from .json_spans import Span, Steps, document, items, members

# Fields that name a model on some route.
NAMING = frozenset({"model", "name", "source", "destination", "from"})

# Each name is checked while the event loop is blocked.
MAX_NAMES = 10

# Ollama's limit: registry, namespace, name and tag, of at most 80 characters each.
MAX_MODEL_NAME = 350

EMPTY = re.compile(rb'null|""|\[[ \t\n\r]*\]')

Found = TypeVar("Found")


class Nested:
    """Placeholder for an array or object that is not decoded."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Fields:
    """The fields of one object, with duplicates.

    Of fields that differ only in case, Ollama uses the last one that is not null, but its check for cloud
    models reads only `model`. So every one of them is checked.
    """

    def __init__(self, body: bytes = b"", found: Sequence[tuple[str, Span | str]] = ()) -> None:
        """`found` pairs each name with its value: a span in `body`, or text."""
        self._body = body
        self._as_written = found
        # casefold, since Ollama also matches the long s and the Kelvin sign.
        self._found = [(name.casefold(), value) for name, value in found]

    def __bool__(self) -> bool:
        """Whether there was a body."""
        return bool(self._body)

    @property
    def members(self) -> list[tuple[str, Span]]:
        """The fields of a JSON body as they are written, with their positions."""
        return [(name, value) for name, value in self._as_written if isinstance(value, Span)]

    def get(self, name: str) -> object:
        """The last value that is not null, or None."""
        last = None
        for value in self.every(name):
            last = last if value is None else value
        return last

    def every(self, name: str) -> Iterator[object]:
        return (self._value(span) for field, span in self._found if field == name)

    def has_any(self, name: str) -> bool:
        """Whether any field of this name has a truthy value."""
        return any(self.every(name))

    def is_empty(self, name: str) -> bool:
        """Whether the field is missing, or has no content wherever it is."""
        values = (value for field, value in self._found if field == name)
        return all(
            EMPTY.fullmatch(self._body, value.start, value.end) if isinstance(value, Span) else not value
            for value in values
        )

    def objects(self, name: str) -> Steps[list["Fields"]]:
        """The objects in all arrays of this name."""
        found = []
        for field, array in self._found:
            if field == name and isinstance(array, Span):
                for item in (yield from items(self._body, array)):
                    of_item = yield from members(self._body, item)
                    found.append(Fields(self._body, of_item))
        return found

    def merged(self, name: str) -> Steps[dict[str, Span]]:
        """The members of all objects of this name, merged as Go decodes them into one map: names count as
        they are written, the last value of each counts, and a null instead of an object empties the map.
        """
        found: dict[str, Span] = {}
        for field, value in self._found:
            if field == name and isinstance(value, Span):
                found.update((yield from members(self._body, value)))
                if self._value(value) is None:
                    found.clear()
        return found

    def parts(self, name: str, most: int) -> Steps[list[Span]]:
        """Each value of this name; of an array, each of its first `most` items instead."""
        found: list[Span] = []
        for field, value in self._found:
            if field == name and isinstance(value, Span):
                is_array = self._body[value.start] == ord("[")
                found += (yield from items(self._body, value, most)) if is_array else [value]
        return found

    def text(self, part: Span, most: int) -> bytes:
        """The JSON of a part, at most so many bytes."""
        return self._body[part.start : min(part.end, part.start + most)]

    def value(self, part: Span) -> object:
        """The decoded value of a part, as `value_at`."""
        return value_at(self._body, part)

    def of_part(self, part: Span) -> Steps["Fields"]:
        """The fields of a part; none if it is not an object."""
        return Fields(self._body, (yield from members(self._body, part)))

    def models(self, naming: Container[str] = NAMING) -> Iterator[str]:
        """Every model that the fields may refer to. Raises InvalidRequest."""
        count = 0
        for field, span in self._found:
            if field in naming and (value := self._value(span)):
                count += 1
                if count > MAX_NAMES:
                    raise InvalidRequest(f"the request names more than {MAX_NAMES} models")
                yield model_name(field, value)

    def _value(self, span: Span | str) -> object:
        if isinstance(span, str):
            return span
        return value_at(self._body, span)


def value_at(body: bytes, span: Span) -> object:
    """The decoded value at `span`, unless it is an array or object. Raises InvalidRequest."""
    text = body[span.start : span.end]
    if text.startswith((b"[", b"{")):
        return Nested("an array" if text.startswith(b"[") else "an object")
    try:
        return json.loads(text.decode(errors="replace"), parse_constant=_no_constant)
    except ValueError:
        raise InvalidRequest(f"the request body is not valid JSON near byte {span.start}") from None


def model_name(field: str, value: object) -> str:
    """Check a model name. Raises InvalidRequest."""
    if not isinstance(value, str):
        kind = value.kind if isinstance(value, Nested) else json.dumps(value)
        raise InvalidRequest(f"{field}: a model name must be a string, not {kind}")
    if len(value) > MAX_MODEL_NAME:
        raise InvalidRequest(f"{field}: a model name has at most {MAX_MODEL_NAME} characters")
    return value


def fields_of(body: bytes) -> Steps[Fields]:
    """The fields of a JSON body; none if it is empty. Raises InvalidRequest."""
    return Fields(body, (yield from document(body))) if body and not body.isspace() else Fields()


async def run_in_steps(steps: Generator[None, None, Found]) -> Found:
    """Run a generator of steps to its end and yield to the event loop between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found
        await asyncio.sleep(0)


def _no_constant(name: str) -> object:
    raise ValueError(name)
