"""The models that a key may use. Names are resolved as Ollama resolves them, so that no other spelling of a
model bypasses the list; a name that is not well-formed is never allowed."""

import re

from ..errors import ModelNotFound
from ..names import MODEL_NAME, full_name, requested_name, shown

# Ollama words this differently on each route. {said} is the name as requested, {shown} as listed.
NOT_FOUND = "model '{said}' not found"


def not_found(model: str, words: str = NOT_FOUND) -> ModelNotFound:
    return ModelNotFound(words.format(said=model, shown=shown(model)))


class AllowList:
    """Patterns of model names; * and ? match anything but a slash. An empty list allows every model."""

    def __init__(self, patterns: tuple[str, ...] = ()) -> None:
        self.patterns = patterns
        self._matcher = re.compile("|".join(_expression(pattern) for pattern in patterns))

    def __bool__(self) -> bool:
        """Whether the list restricts anything."""
        return bool(self.patterns)

    def has(self, name: str) -> bool:
        if not self.patterns:
            return True
        if not MODEL_NAME.fullmatch(name):
            return False
        return self._matcher.fullmatch(requested_name(name)) is not None

    def check(self, name: str, words: str = NOT_FOUND) -> None:
        """Raises ModelNotFound, so that the caller cannot learn whether the model exists."""
        if not self.has(name):
            raise not_found(name, words)


EVERY_MODEL = AllowList()


def _expression(pattern: str) -> str:
    """Regular expression of a pattern. Without a tag, wildcards match all tags, a plain name only latest."""
    has_tag = ":" in pattern.rpartition("/")[2]
    if not has_tag and ("*" in pattern or "?" in pattern):
        pattern += ":*"
    return re.escape(full_name(pattern)).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
