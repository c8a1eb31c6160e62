"""Options for which a model server loads a model anew: taken out of requests, or made the same in all.

Ollama matches the names of options exactly, and merges several `options`.
"""

import time
from collections.abc import Callable

from .affinity import RELOADING, LoadOptions
from .edits import Edits, options_of
from .fields import Fields
from .json_spans import Steps

# How long a context counts after it was asked for.
REMEMBERED_SECONDS = 3600

# Contexts of a model that are remembered, besides the largest those to fall back to.
MAX_REMEMBERED = 16

# Above any model's context. Larger ones are not remembered for other requests.
MAX_CONTEXT = 2**24


class Contexts:
    """The contexts that requests have asked for: `num_ctx` by model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The time of the last request for each; none is smaller than one that was asked for later.
        self._asked: dict[str, dict[int, float]] = {}

    def ask(self, model: str, size: int) -> None:
        if not 0 < size <= MAX_CONTEXT:
            return
        asked = self._asked.get(model, {})
        kept = {larger: at for larger, at in asked.items() if larger > size}
        # The largest are dropped last.
        self._asked[model] = dict(sorted(kept.items(), reverse=True)[: MAX_REMEMBERED - 1])
        self._asked[model][size] = self._clock()

    def largest(self, model: str) -> int | None:
        """The largest of the last hour."""
        begin = self._clock() - REMEMBERED_SECONDS
        return max((size for size, at in self._asked.get(model, {}).items() if at > begin), default=None)

    def forget(self, model: str, size: int) -> None:
        """A context has failed, which may not fit into memory; and so none that is as large."""
        asked = self._asked.get(model, {})
        self._asked[model] = {smaller: at for smaller, at in asked.items() if smaller < size}


def context_of(options: LoadOptions) -> int | None:
    """The `num_ctx`, None if it is missing or no whole number, which the model server refuses."""
    value = dict(options).get("num_ctx", "")
    return int(value) if value.removeprefix("-").isdigit() else None


def stripped(body: bytes, fields: Fields) -> Steps[bytes]:
    """A body without the options for which a model is loaded anew."""
    edits = Edits(body, "has options")
    for found in (yield from options_of(body, fields)).objects:
        if found:
            edits.remove(found.members, found.start, RELOADING)
        yield
    return edits.applied()


def with_context(body: bytes, fields: Fields, size: int) -> Steps[bytes]:
    """A body whose `num_ctx` is `size`."""
    member = b'"num_ctx":%d' % size
    edits = Edits(body, "sets num_ctx")
    options = yield from options_of(body, fields)
    for found in options.objects:
        if found:
            spans = [span for name, span in found.members if name == "num_ctx"]
            for span in spans:
                edits.replace(span, b"%d" % size)
            if not spans:
                edits.add(found.members, found.start, member)
        yield
    if options.is_missing:
        edits.add(fields.members, body.index(b"{"), b'"options":{%b}' % member)
    return edits.applied()
