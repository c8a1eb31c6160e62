"""Which models are in a server's memory, and with which options they were loaded.

Polls tell, and between them the answers that arrive. A wrong assumption lasts until the next poll, or until a
request gets no answer.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from ..ask.affinity import LoadOptions
from .listing import LoadedModel


@dataclass(slots=True)
class Resident:
    """`options` are None if they are not known. `keep` is how long the model stays after a request, in
    seconds, infinite if no request has said so; `until` is when it leaves if it gets no other request.
    `is_certain` is whether nothing has happened that may have removed it. `context` is the length of its
    context at the last poll, 0 if that is not known. Times are of the monotonic clock.
    """

    options: LoadOptions | None
    keep: float = math.inf
    until: float = math.inf
    is_certain: bool = False
    has_answered: bool = False
    context: int = 0
    changed_at: float = 0

    def polled(self, model: LoadedModel, began: float) -> None:
        if self.context and self.context != model.context:
            self.options = None  # somebody else's request has made the server load it anew
        self.context = model.context
        # After its time a model is still there only because it answers somebody.
        self.until = began + (model.unload_after or self.keep)
        self.has_answered = self.is_certain = True


class Residents:
    """Models go by their canonical names."""

    def __init__(self) -> None:
        self._known: dict[str, Resident] = {}

    def __contains__(self, name: str) -> bool:
        """Whether the model was in memory when it was last heard of."""
        resident = self._known.get(name)
        return resident is not None and resident.has_answered

    def ready(self, name: str, options: LoadOptions) -> bool:
        """Whether the model is in memory for certain, loaded with these options."""
        resident = self._known.get(name)
        return (
            resident is not None
            and resident.is_certain
            and resident.options == options
            and time.monotonic() < resident.until
        )

    def asked(self, name: str, options: LoadOptions, keep: float | None) -> None:
        """A request is about to be sent, for which the server uses or loads the model with these options.
        `keep` is its keep-alive in seconds, None if it has none.
        """
        resident = self._known.setdefault(name, Resident(options))
        resident.options = options
        if keep is not None:
            resident.keep = keep
        resident.changed_at = time.monotonic()

    def answered(self, name: str) -> None:
        """A request has got its answer, or the begin of it."""
        resident = self._known.setdefault(name, Resident(None))
        now = time.monotonic()
        resident.has_answered = resident.is_certain = True
        resident.until = now + resident.keep
        resident.changed_at = now

    def loaded(self, name: str, options: LoadOptions) -> None:
        """The server has loaded the model, or has it in memory with these options."""
        self._known[name] = Resident(options)
        self.answered(name)

    def doubt_others(self, name: str) -> None:
        """The model has been loaded, for which others may have had to leave."""
        for other in self._known.keys() - {name}:
            self.doubt(other)

    def doubt(self, name: str) -> None:
        """The model may not be in memory."""
        if resident := self._known.get(name):
            resident.is_certain = False
            resident.changed_at = time.monotonic()

    def forget(self) -> None:
        """Models have been changed: those in memory may not be those that a request would load now."""
        for name, resident in self._known.items():
            self.doubt(name)
            resident.options = None

    def polled(self, models: Iterable[LoadedModel], began: float) -> None:
        """What a poll that began at this time has found. Something heard since then is newer."""
        found = {model.name: model for model in models}
        for name, resident in list(self._known.items()):
            if name not in found and resident.changed_at < began:
                del self._known[name]
        for name, model in found.items():
            resident = self._known.setdefault(name, Resident(None))
            if resident.changed_at < began:
                resident.polled(model, began)
