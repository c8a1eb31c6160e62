"""A semaphore for a runner's slots: first come, first served, even for a request that needs all of them."""

import asyncio


class Slots:
    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._head_of_queue = asyncio.Lock()
        self._released = asyncio.Event()

    def would_wait(self, count: int) -> bool:
        return self._head_of_queue.locked() or self._free < count

    async def acquire(self, count: int) -> None:
        async with self._head_of_queue:
            while self._free < count:
                self._released.clear()
                await self._released.wait()
            self._free -= count

    def release(self, count: int) -> None:
        self._free += count
        self._released.set()
