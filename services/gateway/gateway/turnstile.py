"""Lets a few through each turn of the event loop.

Of a thousand requests that begin or end at the same moment, all would be dealt with in one turn: half a
second in which no running stream gets a byte.
"""

import asyncio
from collections import deque

# A request takes some 0.3 ms to begin, and to end.
REQUESTS_A_TURN = 16

# A line of megabytes takes some milliseconds to be read and passed on.
LARGE_READS_A_TURN = 1


class Turnstile:
    """`most` pass a turn."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_turning = False

    async def wait(self) -> None:
        """Returns at once while the turn has room, else in a later one; first come, first served."""
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._free:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        await place

    def _turn(self) -> None:
        self._free = self._most
        while self._free and self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # whoever waited there may have been cancelled
                place.set_result(None)
                self._free -= 1
        self._is_turning = self._free < self._most
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)


class Turnstiles:
    """Those of one loop."""

    def __init__(self) -> None:
        self.requests = Turnstile(REQUESTS_A_TURN)
        self.large_reads = Turnstile(LARGE_READS_A_TURN)
