"""The right to the slots of a runner: first come, first served, also for one who wants them all."""

import asyncio


class Slots:
    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    def would_wait(self, count: int) -> bool:
        return self._turn.locked() or self._free < count

    async def acquire(self, count: int) -> None:
        async with self._turn:
            while self._free < count:
                self._released.clear()
                await self._released.wait()
            self._free -= count

    def release(self, count: int) -> None:
        self._free += count
        self._released.set()
