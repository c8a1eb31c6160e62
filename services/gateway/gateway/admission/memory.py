"""The ledger of one gateway, in its memory."""

import time
from collections.abc import Sequence

from .estimates import Estimates
from .schedule import Bounds, Schedule
from .slots import Slots
from .turn import Turn
from .waiters import Waiters


class MemoryLedger:
    def __init__(self, slots: Slots, estimates: Estimates, bounds: Bounds) -> None:
        self._waiters = Waiters(bounds.timeout)
        self.schedule = Schedule(slots, estimates, bounds, self._waiters.begun)

    async def enter(self, turn: Turn) -> None:
        turn.entered = time.monotonic()
        self.schedule.enter(turn)

    async def wait(self, turn: Turn) -> None:
        await self._waiters.wait(turn, self.schedule.retry_after)

    def enter_again(self, turn: Turn) -> None:
        self.schedule.enter_again(turn)

    def leave(self, turn: Turn) -> None:
        self.schedule.leave(turn)

    def advance(self) -> None:
        self.schedule.advance()

    def turns(self) -> Sequence[Turn]:
        return self.schedule.turns()

    def update(self) -> None:
        self.schedule.update()

    def share(self, slots: int) -> int:
        return self.schedule.slots.share(slots)

    def free(self, server: str, model: str, slots: int) -> int:
        return self.schedule.free(server, model, slots)
