"""Metrics of slots and queue, updated now and then."""

from collections import Counter

from ..backends.pool import Pool
from ..telemetry.metrics import QUEUE_LENGTH, SLOTS, child
from .ledger import Ledger


class Gauges:
    def __init__(self, ledger: Ledger, pool: Pool) -> None:
        self._ledger = ledger
        self._pool = pool
        # Servers and models with a series, which cannot be removed from a worker's file.
        self._series: set[tuple[str, str]] = set()

    def update(self) -> None:
        turns = self._ledger.turns()
        busy = Counter((turn.server, turn.model) for turn in turns if turn.is_running)
        QUEUE_LENGTH.set(len(turns) - busy.total())
        backends = {backend.name: backend for backend in self._pool.backends}
        loaded = {(name, model.name) for name, backend in backends.items() for model in backend.loaded}
        self._series |= loaded
        for name, model in self._series | busy.keys():
            backend, running = backends.get(name), busy[name, model]
            is_used = running or (name, model) in loaded
            # A server whose address is gone has none to offer.
            free = self._ledger.free(name, model, backend.slots(model)) if backend and is_used else 0
            child(SLOTS, name, model, "busy").set(running)
            child(SLOTS, name, model, "free").set(free)
        self._series |= busy.keys()
