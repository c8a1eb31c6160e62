import asyncio
import time
from contextlib import suppress

import pytest

from gateway.telemetry import loop_watch
from gateway.telemetry.loop_watch import LoopWatch


async def test_what_holds_the_loop_up_is_measured_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_watch, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(loop_watch, "WINDOW_SECONDS", 0.5)
    watch = LoopWatch()
    running = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - that is the point
    async with asyncio.timeout(10):
        while watch.longest < 0.25:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        while watch.longest > 0.2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
