"""Metrics of slots and queue, updated now and then."""

from collections import Counter

from ..backends.pool import Pool
from ..telemetry.metrics import QUEUE_LENGTH, SLOTS, child
from .ledger import Ledger
from .slots import Slots


class Gauges:
    def __init__(self, ledger: Ledger, slots: Slots, pool: Pool) -> None:
        self._ledger = ledger
        self._slots = slots
        self._pool = pool
        # Models with a series, which cannot be removed from a worker's file.
        self._models: set[str] = set()

    def update(self) -> None:
        turns = self._ledger.turns()
        busy = Counter(turn.model for turn in turns if turn.is_running)
        QUEUE_LENGTH.set(len(turns) - busy.total())
        for backend in self._pool.backends:
            loaded = {model.name for model in backend.loaded}
            self._models |= loaded | busy.keys()
            for model in self._models:
                count = self._slots.total(model) if model in loaded or busy[model] else 0
                child(SLOTS, backend.name, model, "busy").set(busy[model])
                child(SLOTS, backend.name, model, "free").set(max(0, count - busy[model]))
