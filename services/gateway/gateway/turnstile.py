"""Limits how much work is done per iteration of the event loop.

A thousand requests that begin or end at the same moment would otherwise be processed in one iteration, which
blocks all running streams for half a second.
"""

import asyncio
from collections import deque

# A request takes about 0.3 ms to begin, and to end.
REQUESTS_A_TURN = 16

# A line of several megabytes takes some milliseconds to process.
LARGE_READS_A_TURN = 1


class Turnstile:
    """Lets `limit` waiters pass per iteration."""

    def __init__(self, limit: int) -> None:
        self._limit = self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_turning = False

    async def wait(self) -> None:
        """Return immediately while the iteration has capacity, else in a later one, in order of arrival."""
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._free:
            self._free -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _turn(self) -> None:
        self._free = self._limit
        while self._free and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # it may have been cancelled
                waiter.set_result(None)
                self._free -= 1
        self._is_turning = self._free < self._limit
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)


class Turnstiles:
    """The turnstiles of one event loop."""

    def __init__(self) -> None:
        self.requests = Turnstile(REQUESTS_A_TURN)
        self.large_reads = Turnstile(LARGE_READS_A_TURN)
