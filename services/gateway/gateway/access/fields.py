"""What the body of a request says, read as Ollama reads it, so that nothing in it can mean one thing here and
another one there."""

import json
from collections.abc import Container, Iterable, Iterator

from ..errors import InvalidRequest

# Where a request names a model, on one route or another.
NAMING = frozenset({"model", "name", "source", "destination", "from"})

# Each of them is looked at, with everybody else waiting; a body has room for a million.
MAX_NAMES = 10


class Pairs(list[tuple[str, object]]):
    """A JSON object with all of its fields, also those of the same name."""


# Stricter than Ollama's decoder, which takes what is no UTF-8, or followed by something else: never laxer.
DECODER = json.JSONDecoder(object_pairs_hook=Pairs)


class Fields:
    """The outermost fields. Of those that are model but for upper and lower case, Ollama takes the last one
    that is not null; but where it looks for models of its cloud, only model. So each of them counts."""

    def __init__(self, pairs: Iterable[tuple[str, object]] = ()) -> None:
        # The long s and the Kelvin sign are letters to Ollama too: casefold leaves out no spelling of its.
        self._pairs = [(name.casefold(), value) for name, value in pairs]

    def get(self, name: str) -> object:
        """The one that counts, or None."""
        said = None
        for field, value in self._pairs:
            if field == name and value is not None:
                said = value
        return said

    def every(self, *names: str) -> list[object]:
        return [value for field, value in self._pairs if field in names]

    def models(self, naming: Container[str] = NAMING) -> Iterator[str]:
        """Every model that may be meant. Raises InvalidRequest."""
        count = 0
        for field, value in self._pairs:
            if field in naming and value:
                count += 1
                if count > MAX_NAMES:
                    raise InvalidRequest("the request names more models than any can need")
                if not isinstance(value, str):
                    raise InvalidRequest(f"{field}: not a model's name")
                yield value


def read_fields(body: bytes) -> Fields:
    """Raises InvalidRequest."""
    if not body.strip():
        return Fields()
    try:
        pairs = DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, Pairs):
        raise InvalidRequest("the request body is not a JSON object")
    return Fields(pairs)
