"""The slots of the model servers: how many answers each generates at once with a model, and which run."""

from collections import Counter
from collections.abc import Container, Sequence
from math import inf
from typing import Literal, NamedTuple, Protocol

from ..ask.affinity import LoadOptions
from ..backends.choice import Candidate, choose
from .turn import Turn

Fit = Literal["now", "when a slot is free", "when its model has ended", "when any model has ended"]

# A server, or one model at a server.
Held = str | tuple[str, str]

# Of several servers at which a turn has to wait, one where it waits for less.
LATER: tuple[Fit, ...] = ("when a slot is free", "when its model has ended", "when any model has ended")


class Server(Protocol):
    """What a model server can do at once. 0 stands for no limit. `seed` is a hash of the name."""

    name: str
    weight: float
    seed: int

    def slots(self, model: str) -> int:
        """Answers that the model generates at once."""

    def models_at_once(self) -> int:
        """Models that are in memory at once."""

    def has_loaded(self, model: str) -> bool:
        """Whether the model is in memory."""


class Capacity(Protocol):
    def servers(self, model: str) -> Sequence[Server]:
        """The servers that can answer with the model; at least one."""


class Place(NamedTuple):
    """When a turn can begin, and at which server."""

    fit: Fit
    server: str


class Slots:
    """Counts running turns by server and model. Each of several workers has its share of the slots."""

    def __init__(self, capacity: Capacity, workers: int, slack: int = 0) -> None:
        self._capacity = capacity
        self._workers = workers
        self._slack = slack
        self.running: dict[str, Counter[str]] = {}
        # The load options of the turns that run; a model is in memory with one set of options at a time.
        self._options: dict[tuple[str, str], LoadOptions] = {}

    def total(self, model: str) -> int:
        """The slots of this model at all servers; 0: no limit."""
        shares = [self.at(server, model) for server in self._capacity.servers(model)]
        return sum(shares) if all(shares) else 0

    def at(self, server: Server, model: str) -> int:
        """The slots of this model at one server; 0: no limit."""
        slots = server.slots(model)
        return max(1, slots // self._workers) if slots else 0

    def has_loaded(self, model: str) -> bool:
        return any(self._has_loaded(server, model) for server in self._capacity.servers(model))

    def place(self, turn: Turn, held: Container[Held] = ()) -> Place:
        """Where and when the turn can begin, so that it does not wait in a model server's own queue.

        Not at servers, or with models, that are `held`, unless it needs none of their slots.
        """
        servers = self._capacity.servers(turn.model)
        if turn.tried:
            servers = [server for server in servers if server.name not in turn.tried] or servers
        if len(servers) == 1:
            return self._place_at(servers[0], turn, held)
        places = [self._place_at(server, turn, held) for server in servers]
        free = [server for server, place in zip(servers, places, strict=True) if place.fit == "now"]
        if free:
            candidates = [self._candidate(server, turn.model) for server in free]
            return Place("now", free[choose(candidates, turn.conversation, self._slack)].name)
        return min(places, key=lambda place: LATER.index(place.fit))

    def take(self, turn: Turn) -> None:
        self.running.setdefault(turn.server, Counter())[turn.model] += 1
        self._options[turn.server, turn.model] = turn.options

    def give_back(self, turn: Turn) -> None:
        running = self.running[turn.server]
        running[turn.model] -= 1
        if not running[turn.model]:
            del running[turn.model], self._options[turn.server, turn.model]
        if not running:
            del self.running[turn.server]

    def _place_at(self, server: Server, turn: Turn, held: Container[Held]) -> Place:
        fit = self._fit(server, turn)
        if fit == "now" and held and self.at(server, turn.model):
            if (server.name, turn.model) in held:
                fit = "when its model has ended"
            elif server.name in held:
                fit = "when any model has ended"
        return Place(fit, server.name)

    def _fit(self, server: Server, turn: Turn) -> Fit:
        """A model ends when its last running turn does; then it can be loaded with other options, or make
        room.
        """
        model, slots = turn.model, self.at(server, turn.model)
        running = self.running.get(server.name)
        if not slots or not running:
            return "now"
        if count := running.get(model, 0):
            if self._options[server.name, model] != turn.options:
                return "when its model has ended"
            return "now" if count < slots else "when a slot is free"
        at_once = server.models_at_once()
        if at_once and sum(bool(self.at(server, other)) for other in running) >= at_once:
            return "when any model has ended"
        return "now"

    def _candidate(self, server: Server, model: str) -> Candidate:
        running = self.running.get(server.name)
        busy, of_model = (running.total(), running.get(model, 0)) if running else (0, 0)
        slots = self.at(server, model)
        free = slots - of_model if slots else inf
        return Candidate(server.seed, self._has_loaded(server, model), busy, free, server.weight)

    def _has_loaded(self, server: Server, model: str) -> bool:
        return model in self.running.get(server.name, ()) or server.has_loaded(model)
