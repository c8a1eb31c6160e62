"""Who has a slot and who waits, decided at one place: the fair queue over the slots of the model servers."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..errors import CallerQueueFull, QueueFull
from .estimates import Estimates
from .fair_queue import FairQueue
from .slots import Held, Place, Slots
from .turn import Standing, Turn

# How often positions are computed at most: it takes a microsecond for each request that waits.
STANDING_SECONDS = 1.0


class Bounds(NamedTuple):
    """`timeout` is the longest wait, `patience` how much longer a request may wait so that a model in memory
    is used first, both in seconds.
    """

    queue: int
    per_caller: int
    timeout: float
    patience: float

    def share(self, shares: int) -> "Bounds":
        """An equal share of the queue."""
        return self._replace(
            queue=math.ceil(self.queue / shares), per_caller=math.ceil(self.per_caller / shares)
        )


class Schedule:
    """`begun` is called for each turn that begins; none does while `may_begin` is false. The estimates learn
    from each that ends.
    """

    def __init__(
        self,
        slots: Slots,
        estimates: Estimates,
        bounds: Bounds,
        begun: Callable[[Turn], None],
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self.slots = slots
        self.queue = FairQueue()
        self._estimates = estimates
        self._bounds = bounds
        self._begun = begun
        self._may_begin = may_begin
        self._running: dict[Turn, None] = {}  # in the order in which they began
        self._waiting: set[Turn] = set()
        self._updated_at = 0.0

    def enter(self, turn: Turn) -> None:
        """Let the turn begin, or wait. Raises QueueFull."""
        place = self.slots.place(turn)
        if place.fit == "now" and not self.queue and self._may_begin():
            self.queue.begin_at_once(turn)
            self._start(turn, place)
            return
        if place.fit != "now":
            self._check_room(turn)
        self._waiting.add(turn)
        self.queue.add(turn)
        self.advance()

    def enter_again(self, turn: Turn) -> None:
        """As `Ledger.enter_again`."""
        del self._running[turn]
        self.slots.give_back(turn)
        turn.fail()
        self._waiting.add(turn)
        self.queue.put_back(turn)
        self.advance()

    def take_over(self, running: Sequence[Turn], waiting: Sequence[Turn]) -> None:
        """Take over turns that somebody else has admitted, whether there are slots and room for them or not:
        those that run, and those that wait, in this order.
        """
        for turn in running:
            self.queue.begin_at_once(turn)
            self.slots.take_over(turn)
            self._running[turn] = None
        for turn in waiting:
            self._waiting.add(turn)
            self.queue.add(turn)
        self.advance()

    def leave(self, turn: Turn) -> None:
        """As `Ledger.leave`."""
        if turn in self._running:
            del self._running[turn]
            used = self.used(turn)
            self._estimates.learn(turn, time.monotonic())
            self.slots.give_back(turn)
            self.queue.end(turn, used)
        elif turn in self._waiting:
            self._waiting.remove(turn)
            self.queue.remove(turn)
        else:
            return
        self.advance()

    def used(self, turn: Turn) -> float:
        """The tokens that the turn has cost."""
        return max(1.0, self._estimates.used(turn.model, turn.tokens(), turn.prompt_cost))

    def turns(self) -> Sequence[Turn]:
        """As `Ledger.turns`."""
        self._update()
        return [*self._running, *self.queue.in_order()]

    def update(self) -> None:
        """As `Ledger.update`."""
        if self.queue and time.monotonic() >= self._updated_at + STANDING_SECONDS:
            self._update()

    def free(self, server: str, model: str, slots: int) -> int:
        """As `Ledger.free`."""
        return max(0, self.slots.share(slots) - self.slots.count(server, model))

    def retry_after(self, turn: Turn) -> int:
        """Seconds until the next slot for the turn's model is expected to be free."""
        return max(1, round(self._waits([turn], time.monotonic())[0]))

    def advance(self) -> None:
        """As `Ledger.advance`."""
        while self.queue and self._may_begin() and (found := self._next()):
            turn, place = found
            self._waiting.remove(turn)
            self.queue.begin(turn)
            self._start(turn, place)

    def _next(self) -> tuple[Turn, Place] | None:
        """The turn that begins now, if any can."""
        now = time.monotonic()
        heads = self.queue.heads(lambda turn: self.slots.has_loaded(turn.model) or self._waited(turn, now))
        # Where nothing must begin, so that what runs ends and another model can be loaded.
        held: set[Held] = set()
        for at, turn in enumerate(heads):
            place = self.slots.place(turn, held)
            if place.fit == "now":
                self._pass_over(heads, at, now)
                return turn, place
            if self._waited(turn, now):
                if place.fit == "when its model has ended":
                    held.add((place.server, turn.model))
                elif place.fit == "when any model has ended":
                    held.add(place.server)
        return None

    def _waited(self, turn: Turn, now: float) -> bool:
        """Whether the turn has waited long enough so that loaded models are used first."""
        since = turn.passed_over_since
        return since is not None and now - since >= self._bounds.patience

    def _pass_over(self, heads: list[Turn], at: int, now: float) -> None:
        """`heads[at]` begins, although others were due earlier or have come earlier."""
        for number, turn in enumerate(heads):
            if turn.passed_over_since is None and (number < at or turn.number < heads[at].number):
                turn.passed_over_since = now

    def _start(self, turn: Turn, place: Place) -> None:
        turn.started = time.monotonic()
        self.slots.take(turn, place)
        self._running[turn] = None
        self._begun(turn)

    def _check_room(self, turn: Turn) -> None:
        """Raises QueueFull."""
        bounds = self._bounds
        if len(self.queue) >= bounds.queue:
            what = f"the queue is full, {bounds.queue} waiting (GATEWAY_QUEUE)"
            raise QueueFull(what, self.retry_after(turn))
        if self.queue.waiting_of(turn.caller) >= bounds.per_caller:
            what = f"your share of the queue is full, {bounds.per_caller} waiting (GATEWAY_QUEUE_PER_CALLER)"
            raise CallerQueueFull(what, self.retry_after(turn))

    def _update(self) -> None:
        self._updated_at = now = time.monotonic()
        waiting: dict[str, list[Turn]] = {}
        for turn in self.queue.in_order():
            waiting.setdefault(turn.model, []).append(turn)
        for turns in waiting.values():
            for position, (turn, wait) in enumerate(zip(turns, self._waits(turns, now), strict=True), 1):
                turn.standing = Standing(position, len(turns), max(1, round(wait)))

    def _waits(self, turns: Sequence[Turn], now: float) -> list[float]:
        """The expected waits of turns of one model, in this order."""
        first = turns[0]
        left: dict[str, list[float]] = {}
        for turn in self._running:
            left.setdefault(turn.model, []).append(self._estimates.left(turn, now))
        own = left.get(first.model, [])
        match self.slots.place(first).fit:
            case "when its model has ended":
                begins, own = max(own), []
            case "when any model has ended":
                begins = min(map(max, left.values()))
            case _:
                begins = 0.0
        return self._estimates.waits(first.model, self.slots.total(first.model), own, len(turns), begins)
