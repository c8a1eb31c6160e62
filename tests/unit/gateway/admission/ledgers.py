"""Ledgers and turns without a gateway around them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.admission.estimates import Estimates
from gateway.admission.memory import MemoryLedger
from gateway.admission.schedule import Bounds
from gateway.admission.slots import Slots
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used
from gateway.backends.choice import Offer

SLOTS = 8
NO_BOUNDS = Bounds(10**6, 10**6, 10**6, 10**6)


@dataclass
class Server:
    """A model server that does so much at once, and is the only one."""

    count: int = SLOTS
    at_once: int = 0
    loaded: set[str] = field(default_factory=set)
    unlimited: set[str] = field(default_factory=set)

    def offers(self, model: str) -> Sequence[Offer]:
        slots = 0 if model in self.unlimited else self.count
        return [Offer("ollama", slots=slots, models_at_once=self.at_once, is_loaded=model in self.loaded)]


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
