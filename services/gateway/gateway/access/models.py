"""The models that a key may know of. Names are resolved as Ollama resolves them, so that no other spelling of
a model gets around the list; a name that Ollama might read in a way not known here is on no list."""

import json
import re
from collections.abc import Iterator
from typing import Any

from ..errors import InvalidRequest, ModelNotFound
from ..names import MODEL_NAME, full_name

PATTERN = re.compile(r"[\w.:/*?-]+", re.ASCII)

# Where a request names a model, on whatever route. Ollama takes MODEL for model, and the last one of many.
NAMING = frozenset({"model", "name", "source", "destination", "from"})

# As a tag it is none: Ollama takes it off and looks for the rest on its own machine.
LOCAL = ":local"


class AllowList:
    """Patterns of names; * and ? stand for anything but a slash. Without any, all models are allowed."""

    def __init__(self, patterns: tuple[str, ...] = ()) -> None:
        self.patterns = patterns
        self._matcher = re.compile("|".join(_expression(pattern) for pattern in patterns))

    def __bool__(self) -> bool:
        """Whether there is anything that is not allowed."""
        return bool(self.patterns)

    def has(self, name: str) -> bool:
        if not self.patterns:
            return True
        if not MODEL_NAME.fullmatch(name):
            return False
        return self._matcher.fullmatch(full_name(_without_local(name))) is not None

    def check(self, name: str) -> None:
        """Raises ModelNotFound: that there is such a model is nothing that the caller may know."""
        if not self.has(name):
            raise ModelNotFound(f"model '{name}' not found")

    def check_body(self, body: bytes) -> None:
        """Every model that `body` names. Raises ModelNotFound, InvalidRequest."""
        if self.patterns and body.strip():
            for name in _named(body):
                self.check(name)


EVERY_MODEL = AllowList()


def _expression(pattern: str) -> str:
    """Without a tag, a pattern with wildcards is for every tag, and a plain name for the implied one."""
    has_tag = ":" in pattern.rpartition("/")[2]
    if not has_tag and ("*" in pattern or "?" in pattern):
        pattern += ":*"
    return re.escape(full_name(pattern)).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _without_local(name: str) -> str:
    return name[: -len(LOCAL)] if name.lower().endswith(LOCAL) else name


class _Pairs(list[tuple[str, Any]]):
    """An object with all of its fields, also those of the same name."""


def _named(body: bytes) -> Iterator[str]:
    try:
        fields = json.loads(body, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        fields = None
    # Ollama's decoder is more lenient, as with what follows the object: it might find a model in there.
    if not isinstance(fields, _Pairs):
        raise InvalidRequest("the request body is not a JSON object")
    for field, value in fields:
        if field.casefold() in NAMING and value:
            if not isinstance(value, str):
                raise InvalidRequest(f"{field}: not a model's name")
            yield value
