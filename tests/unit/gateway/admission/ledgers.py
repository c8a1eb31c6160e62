"""Ledgers and turns without a gateway around them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.admission.estimates import Estimates
from gateway.admission.memory import Bounds, MemoryLedger
from gateway.admission.slots import Slots
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used

SLOTS = 8
NO_BOUNDS = Bounds(10**6, 10**6, 10**6, 10**6)


@dataclass
class Server:
    """A model server that does so much at once, and is the only one."""

    count: int = SLOTS
    at_once: int = 0
    loaded: set[str] = field(default_factory=set)
    unlimited: set[str] = field(default_factory=set)
    name: str = "ollama"
    weight: float = 1
    seed: int = 1

    def servers(self, model: str) -> Sequence["Server"]:
        return (self,)

    def slots(self, model: str) -> int:
        return 0 if model in self.unlimited else self.count

    def models_at_once(self) -> int:
        return self.at_once

    def has_loaded(self, model: str) -> bool:
        return model in self.loaded


def turn(caller: str, *, model: str = "one", cost: float = 100, weight: float = 1, **fields: object) -> Turn:
    return Turn(
        "id",
        caller,
        model,
        lambda: Used(0, int(cost), complete=True),
        lambda reason: None,
        cost=cost,
        weight=weight,
        **fields,  # type: ignore[arg-type]
    )


def ledger(server: Server, bounds: Bounds = NO_BOUNDS) -> MemoryLedger:
    return MemoryLedger(Slots(server, 1), Estimates(), bounds)
