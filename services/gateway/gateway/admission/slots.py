"""The slots of the model server: how many answers a model generates at once, and which models run."""

from collections import Counter
from typing import Literal, Protocol

from ..ask.affinity import LoadOptions
from .turn import Turn

Fit = Literal["now", "when a slot is free", "when its model has ended", "when any model has ended"]


class Capacity(Protocol):
    """What the model servers can do at once. 0 stands for no limit."""

    def slots(self, model: str) -> int:
        """Answers that the model generates at once."""

    def models_at_once(self) -> int:
        """Models that are in memory at once."""

    def has_loaded(self, model: str) -> bool:
        """Whether the model is in memory."""


class Slots:
    """Counts running turns by model."""

    def __init__(self, capacity: Capacity, workers: int) -> None:
        self._capacity = capacity
        self._workers = workers
        self.running: Counter[str] = Counter()
        # The load options of the turns that run; a model is in memory with one set of options at a time.
        self._options: dict[str, LoadOptions] = {}

    def total(self, model: str) -> int:
        """The slots of this model, of which a worker has its share; 0: no limit."""
        slots = self._capacity.slots(model)
        return max(1, slots // self._workers) if slots else 0

    def has_loaded(self, model: str) -> bool:
        return model in self.running or self._capacity.has_loaded(model)

    def fit(self, turn: Turn) -> Fit:
        """When the turn can begin, so that it does not wait in the model server's own queue.

        A model ends when its last running turn does; then it can be loaded with other options, or make room.
        """
        model, slots = turn.model, self.total(turn.model)
        if not slots:
            return "now"
        if running := self.running.get(model, 0):
            if self._options[model] != turn.options:
                return "when its model has ended"
            return "now" if running < slots else "when a slot is free"
        at_once = self._capacity.models_at_once()
        if at_once and sum(bool(self.total(other)) for other in self.running) >= at_once:
            return "when any model has ended"
        return "now"

    def take(self, turn: Turn) -> None:
        self.running[turn.model] += 1
        self._options[turn.model] = turn.options

    def give_back(self, turn: Turn) -> None:
        self.running[turn.model] -= 1
        if not self.running[turn.model]:
            del self.running[turn.model], self._options[turn.model]
