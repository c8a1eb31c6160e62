"""The ledger of one gateway, in its memory."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import CallerQueueFull, QueueFull, QueueTimeout
from .estimates import Estimates
from .fair_queue import FairQueue
from .slots import Slots
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


class MemoryLedger:
    def __init__(self, slots: Slots, estimates: Estimates, bounds: Bounds) -> None:
        self.slots = slots
        self.queue = FairQueue()
        self._estimates = estimates
        self._bounds = bounds
        self._running: dict[Turn, None] = {}  # in the order in which they began
        self._futures: dict[Turn, asyncio.Future[None]] = {}
        self._updated_at = 0.0

    async def enter(self, turn: Turn) -> None:
        turn.entered = time.monotonic()
        if not self.queue and self.slots.fit(turn) == "now":
            self.queue.begin_at_once(turn)
            self._start(turn)
            return
        self._check_room(turn)
        self._futures[turn] = asyncio.get_running_loop().create_future()
        self.queue.add(turn)
        self._advance()

    async def wait(self, turn: Turn) -> None:
        future = self._futures.get(turn)
        if future is None or future.done():
            return
        # Not asyncio.timeout: its TimeoutError would stay the context of ours, a reference cycle.
        await asyncio.wait({future}, timeout=self._bounds.timeout)
        if not turn.is_running:
            what = f"no slot became free within {self._bounds.timeout:g} s (GATEWAY_QUEUE_TIMEOUT)"
            raise QueueTimeout(what, self._retry_after(turn))

    def leave(self, turn: Turn) -> None:
        future = self._futures.pop(turn, None)
        if turn in self._running:
            del self._running[turn]
            used = turn.used()
            self._estimates.learn(turn, used, time.monotonic())
            self.slots.give_back(turn)
            self.queue.end(turn, used)
        elif future:
            self.queue.remove(turn)
        else:
            return
        self._advance()

    def turns(self) -> Sequence[Turn]:
        self._update()
        return [*self._running, *self.queue.in_order()]

    def update(self) -> None:
        if self.queue and time.monotonic() >= self._updated_at + STANDING_SECONDS:
            self._update()

    def _advance(self) -> None:
        """Let everyone begin whose turn it is. Called whenever something has changed."""
        while turn := self._next():
            self.queue.begin(turn)
            self._start(turn)
            future = self._futures[turn]
            if not future.done():  # it is, if the request was cancelled and has not run since
                future.set_result(None)

    def _next(self) -> Turn | None:
        """The turn that begins now, if any can."""
        now = time.monotonic()
        heads = self.queue.heads(lambda turn: self.slots.has_loaded(turn.model) or self._waited(turn, now))
        for at, turn in enumerate(heads):
            match self.slots.fit(turn):
                case "now":
                    self._pass_over(heads, at, now)
                    return turn
                case "when the model can be loaded" if self._waited(turn, now):
                    return None  # what runs ends, then the model is loaded
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

    def _start(self, turn: Turn) -> None:
        turn.started = time.monotonic()
        self.slots.take(turn)
        self._running[turn] = None

    def _check_room(self, turn: Turn) -> None:
        """Raises QueueFull."""
        bounds = self._bounds
        if len(self.queue) >= bounds.queue:
            what = f"{bounds.queue} requests are waiting (GATEWAY_QUEUE)"
            raise QueueFull(what, self._retry_after(turn))
        if self.queue.waiting_of(turn.caller) >= bounds.per_caller:
            what = f"{bounds.per_caller} of your requests are waiting (GATEWAY_QUEUE_PER_CALLER)"
            raise CallerQueueFull(what, self._retry_after(turn))

    def _retry_after(self, turn: Turn) -> int:
        """Seconds until the next request that waits for this model will get a slot."""
        self.update()
        waits = [
            other.standing.eta_seconds for other in self.queue if other.standing and other.model == turn.model
        ]
        return max(1, min(waits, default=1))

    def _update(self) -> None:
        self._updated_at = now = time.monotonic()
        waiting: dict[str, list[Turn]] = {}
        running: dict[str, list[Turn]] = {}
        for turn in self.queue.in_order():
            waiting.setdefault(turn.model, []).append(turn)
        for turn in self._running:
            running.setdefault(turn.model, []).append(turn)
        for model, turns in waiting.items():
            slots = self.slots.total(model)
            seconds = self._estimates.waits(slots, running.get(model, []), turns, now)
            for position, (turn, wait) in enumerate(zip(turns, seconds, strict=True), 1):
                turn.standing = Standing(position, len(turns), max(1, round(wait)))
