"""The models that a key may know of. Names are resolved as Ollama resolves them, so that no other spelling of
a model gets around the list; a name that Ollama might read in a way not known here is on no list."""

import re

from ..errors import ModelNotFound
from ..names import MODEL_NAME, full_name, meant_by, shown

# Ollama has several ways to say it. {said} is the name in the request, {shown} as it would be listed.
NOT_FOUND = "model '{said}' not found"


def not_found(model: str, words: str = NOT_FOUND) -> ModelNotFound:
    return ModelNotFound(words.format(said=model, shown=shown(model)))


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
        return self._matcher.fullmatch(meant_by(name)) is not None

    def check(self, name: str, words: str = NOT_FOUND) -> None:
        """Raises ModelNotFound: that there is such a model is nothing that the caller may know."""
        if not self.has(name):
            raise not_found(name, words)


EVERY_MODEL = AllowList()


def _expression(pattern: str) -> str:
    """Without a tag, a pattern with wildcards is for every tag, and a plain name for the implied one."""
    has_tag = ":" in pattern.rpartition("/")[2]
    if not has_tag and ("*" in pattern or "?" in pattern):
        pattern += ":*"
    return re.escape(full_name(pattern)).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
