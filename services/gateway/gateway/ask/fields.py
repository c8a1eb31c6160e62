"""What the body of a request says, read as Ollama reads it, so that nothing in it can mean one thing here and
another one there."""

import asyncio
import json
from collections.abc import Container, Generator, Iterable, Iterator
from typing import TypeVar

from ..errors import InvalidRequest
from .json_spans import Span, Steps, document, items, members

# Where a request names a model, on one route or another.
NAMING = frozenset({"model", "name", "source", "destination", "from"})

# Each of them is looked at, with everybody else waiting.
MAX_NAMES = 10

# Ollama's longest are registry, namespace, name and tag, of 80 characters at most each.
MAX_MODEL_NAME = 350

Found = TypeVar("Found")


class Nested:
    """Stands for an array or an object, whose content nobody asks for here."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Fields:
    """The fields of one object. Of those that differ in upper and lower case alone, Ollama takes the last one
    that is not null; but where it looks for models of its cloud, only model. So each of them counts."""

    def __init__(self, body: bytes = b"", found: Iterable[tuple[str, Span | str]] = ()) -> None:
        """`found` has each field's name, and where in `body` its value stands, or a text that it is."""
        self._body = body
        # The long s and the Kelvin sign are letters to Ollama too: casefold leaves out no spelling of its.
        self._found = [(name.casefold(), value) for name, value in found]

    def __bool__(self) -> bool:
        """Whether there was a body at all."""
        return bool(self._body)

    def get(self, name: str) -> object:
        """The one that counts, or None."""
        said = None
        for value in self.every(name):
            said = said if value is None else value
        return said

    def every(self, name: str) -> Iterator[object]:
        return (self._value(span) for field, span in self._found if field == name)

    def has_any(self, name: str) -> bool:
        """Whether one of them says anything."""
        return any(self.every(name))

    def objects(self, name: str) -> Steps[list["Fields"]]:
        """The objects in the arrays of this name."""
        found = []
        for field, array in self._found:
            if field == name and isinstance(array, Span):
                for item in (yield from items(self._body, array)):
                    of_item = yield from members(self._body, item)
                    found.append(Fields(self._body, of_item))
        return found

    def models(self, naming: Container[str] = NAMING) -> Iterator[str]:
        """Every model that may be meant. Raises InvalidRequest."""
        count = 0
        for field, span in self._found:
            if field in naming and (value := self._value(span)):
                count += 1
                if count > MAX_NAMES:
                    raise InvalidRequest("the request names more models than any can need")
                yield model_name(field, value)

    def _value(self, span: Span | str) -> object:
        if isinstance(span, str):
            return span
        text = self._body[span.start : span.end]
        if text.startswith((b"[", b"{")):
            return Nested("an array" if text.startswith(b"[") else "an object")
        try:
            return json.loads(text.decode(errors="replace"), parse_constant=_no_constant)
        except ValueError:
            raise InvalidRequest(f"the request body is not valid JSON near byte {span.start}") from None


def model_name(field: str, value: object) -> str:
    """Raises InvalidRequest."""
    if not isinstance(value, str):
        kind = value.kind if isinstance(value, Nested) else json.dumps(value)
        raise InvalidRequest(f"{field}: a model's name is a string, not {kind}")
    if len(value) > MAX_MODEL_NAME:
        raise InvalidRequest(f"{field}: a model's name has at most {MAX_MODEL_NAME} characters")
    return value


def fields_of(body: bytes) -> Steps[Fields]:
    """The body's own; none if it is empty. Raises InvalidRequest."""
    return Fields(body, (yield from document(body))) if body and not body.isspace() else Fields()


async def politely(steps: Generator[None, None, Found]) -> Found:
    """Takes the steps one by one and lets everybody else go between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found
        await asyncio.sleep(0)


def _no_constant(name: str) -> object:
    raise ValueError(name)
