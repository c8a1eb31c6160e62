"""The slots of the model servers: how many answers each generates at once with a model, and which run."""

from collections.abc import Collection, Sequence
from math import inf
from typing import Literal, NamedTuple, Protocol

from ..ask.affinity import LoadOptions
from ..backends.choice import Offer, choose
from .turn import Turn

Fit = Literal["now", "when a slot is free", "when its model has ended", "when any model has ended"]

# Of several servers at which a turn has to wait, one where it waits for less.
LATER: tuple[Fit, ...] = ("when a slot is free", "when its model has ended", "when any model has ended")

# A server, or one model at a server.
Held = str | tuple[str, str]


class Capacity(Protocol):
    def offers(self, model: str) -> Sequence[Offer]:
        """The servers that can answer with the model; at least one."""


class Place(NamedTuple):
    """When a turn can begin, and at which server, with how many slots for its model; 0: no limit."""

    fit: Fit
    server: str
    slots: int


class _Model:
    """A model that answers at a server. It is in memory with one set of load options at a time."""

    __slots__ = ("count", "is_limited", "options")

    def __init__(self, options: LoadOptions, is_limited: bool) -> None:
        self.count = 0
        self.options = options
        self.is_limited = is_limited


class _Server:
    """A server that answers: its answers, the models with which it does, and how many of them have slots."""

    __slots__ = ("answers", "limited", "models")

    def __init__(self) -> None:
        self.answers = self.limited = 0
        self.models: dict[str, _Model] = {}


class Slots:
    """Counts running turns by server and model. Gives one of `shares` equal shares of the slots."""

    def __init__(self, capacity: Capacity, shares: int, slack: int = 0) -> None:
        self._capacity = capacity
        self._shares = shares
        self._slack = slack
        # Only those that answer.
        self._servers: dict[str, _Server] = {}

    def share(self, slots: int) -> int:
        """Of a server's slots those that may be given; 0: no limit."""
        return slots if self._shares == 1 else slots and max(1, slots // self._shares)

    def total(self, model: str) -> int:
        """The slots of this model at all servers; 0: no limit."""
        shares = [self.share(offer.slots) for offer in self._capacity.offers(model)]
        return sum(shares) if all(shares) else 0

    def count(self, server: str, model: str) -> int:
        """Turns of the model that run at the server."""
        found = self._servers.get(server)
        return found.models[model].count if found and model in found.models else 0

    def has_loaded(self, model: str) -> bool:
        return any(offer.is_loaded or self.count(offer.name, model) for offer in self._capacity.offers(model))

    def place(self, turn: Turn, held: Collection[Held] = ()) -> Place:
        """Where and when the turn can begin, so that it does not wait in a model server's own queue.

        Not at servers, or with models, that are `held`, unless it needs none of their slots.
        """
        offers = self._capacity.offers(turn.model)
        if avoided := turn.avoided:
            offers = [offer for offer in offers if offer.name not in avoided] or offers
        if len(offers) == 1:
            return Place(self._fit(offers[0], turn, held), offers[0].name, offers[0].slots)
        loads = self._loads(offers, turn, held)
        if any(load[1] for load in loads):
            chosen = offers[choose(offers, loads, turn.conversation, self._slack)]
            return Place("now", chosen.name, chosen.slots)
        places = [Place(self._fit(offer, turn, held), offer.name, offer.slots) for offer in offers]
        return min(places, key=lambda place: LATER.index(place.fit))

    def take(self, turn: Turn, place: Place) -> None:
        turn.server, is_limited = place.server, place.slots > 0
        server = self._servers.setdefault(turn.server, _Server())
        model = server.models.get(turn.model)
        if model is None:
            model = server.models[turn.model] = _Model(turn.options, is_limited)
            server.limited += is_limited
        model.options = turn.options
        model.count += 1
        server.answers += 1

    def take_over(self, turn: Turn) -> None:
        """Count a turn that runs already, whether there is a slot for it or not."""
        self.take(turn, Place("now", turn.server, 1))

    def give_back(self, turn: Turn) -> None:
        server = self._servers[turn.server]
        model = server.models[turn.model]
        server.answers -= 1
        model.count -= 1
        if not model.count:
            server.limited -= model.is_limited
            del server.models[turn.model]
        if not server.answers:
            del self._servers[turn.server]

    def _fit(self, offer: Offer, turn: Turn, held: Collection[Held]) -> Fit:
        """A model ends when its last running turn does; then it can be loaded with other options, or make
        room.
        """
        server = self._servers.get(offer.name)
        if server is None or not offer.slots:
            return "now"
        if model := server.models.get(turn.model):
            if model.options != turn.options or (offer.name, turn.model) in held:
                return "when its model has ended"
            if model.count >= self.share(offer.slots):
                return "when a slot is free"
        elif offer.models_at_once and server.limited >= offer.models_at_once:
            return "when any model has ended"
        return "when any model has ended" if offer.name in held else "now"

    def _loads(
        self, offers: Sequence[Offer], turn: Turn, held: Collection[Held]
    ) -> list[tuple[int, float, bool]]:
        """As `choice.Load`, without free slots where the turn cannot begin. One loop, for many servers."""
        servers, name, options, shares = self._servers, turn.model, turn.options, self._shares
        loads: list[tuple[int, float, bool]] = []
        for offer in offers:
            at, _, _, slots, _, is_loaded = offer
            free = slots if shares == 1 else self.share(slots)
            server = servers.get(at)
            if server is None:
                loads.append((0, free or inf, is_loaded))
                continue
            model = server.models.get(name)
            if not slots:
                loads.append((server.answers, inf, is_loaded or model is not None))
            elif model is None or held or (model.options is not options and model.options != options):
                fits = self._fit(offer, turn, held) == "now"
                free -= model.count if model else 0
                loads.append((server.answers, free if fits else 0, is_loaded or model is not None))
            else:
                left = free - model.count
                loads.append((server.answers, left if left > 0 else 0, True))
        return loads
