"""How long the event loop was held up: for so long no stream got a byte."""

import asyncio

TICK_SECONDS = 0.02
# What is told is at least as old as this, and at most twice.
WINDOW_SECONDS = 30.0


class LoopWatch:
    def __init__(self) -> None:
        self._longest = self._longest_before = 0.0

    @property
    def longest(self) -> float:
        """In seconds, in the last minute or its half; what is below a tick may be missed."""
        return max(self._longest, self._longest_before)

    async def run(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        window_ends = loop.time() + WINDOW_SECONDS
        while True:
            due = loop.time() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            self._longest = max(self._longest, now - due)
            if now >= window_ends:
                self._longest_before, self._longest = self._longest, 0.0
                window_ends = now + WINDOW_SECONDS
