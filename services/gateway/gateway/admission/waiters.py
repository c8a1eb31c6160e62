"""Requests that wait until their turns begin."""

import asyncio
from collections.abc import Callable

from ..errors import QueueTimeout
from .turn import Turn


class Waiters:
    """`timeout` is the longest wait in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._futures: dict[Turn, asyncio.Future[None]] = {}

    def begun(self, turn: Turn) -> None:
        future = self._futures.get(turn)
        if future and not future.done():  # it is, if the request was cancelled and has not run since
            future.set_result(None)

    async def wait(self, turn: Turn, retry_after: Callable[[Turn], int]) -> None:
        """Wait until the turn has begun. Raises QueueTimeout."""
        if turn.is_running:
            return
        future = self._futures[turn] = asyncio.get_running_loop().create_future()
        try:
            # Not asyncio.timeout: its TimeoutError would stay the context of ours, a reference cycle.
            await asyncio.wait({future}, timeout=self._timeout)
        finally:
            del self._futures[turn]
        if not turn.is_running:
            what = f"no slot became free within {self._timeout:g} s (GATEWAY_QUEUE_TIMEOUT)"
            raise QueueTimeout(what, retry_after(turn))
