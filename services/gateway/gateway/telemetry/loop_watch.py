"""Measures how long the event loop is blocked, during which no stream gets a byte."""

import asyncio

TICK_SECONDS = 0.02
# The reported value covers between one and two of these windows.
WINDOW_SECONDS = 30.0


class LoopWatch:
    def __init__(self) -> None:
        self._longest = self._longest_before = 0.0

    @property
    def longest(self) -> float:
        """Longest stall in seconds within the last 30 to 60 s; stalls shorter than a tick may be missed."""
        return max(self._longest, self._longest_before)

    async def run(self) -> None:
        """Measure until cancelled."""
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
