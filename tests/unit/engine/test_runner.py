import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from engine.errors import BusyError
from engine.inference.backlog import Backlog
from engine.inference.process import LlamaProcess
from engine.inference.runner import Runner
from engine.models.catalogue import Catalogue
from engine.settings import Settings


class Process:
    """Stands in for a child process; nothing listens at its address."""

    address = "http://127.0.0.1:9"

    async def stop(self) -> None:
        pass


@pytest.fixture
async def runner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runner]:
    """With two slots, and room for one request that waits."""
    monkeypatch.setattr("engine.inference.runner.DRAIN_SECONDS", 0)
    model = Catalogue(None).scan()[0]
    runner = Runner(model, 64, Settings(slots=2), cast(LlamaProcess, Process()), Backlog(1))
    yield runner
    await runner.stop()


async def embed(runner: Runner, started: asyncio.Event) -> None:
    async with runner.all_slots():
        started.set()
        await asyncio.Event().wait()


async def cancelled_embedding(runner: Runner) -> None:
    started = asyncio.Event()
    embedding = asyncio.create_task(embed(runner, started))
    await started.wait()
    embedding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await embedding


async def take_slot(runner: Runner) -> None:
    async with runner.slot():
        pass


async def test_slots_of_a_cancelled_embedding_are_free_once_llama_cpp_has_dropped_it(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = [1, 1, 0]
    polled = asyncio.Event()

    async def busy_slots() -> int:
        await polled.wait()
        return busy.pop(0)

    monkeypatch.setattr(runner.llama, "busy_slots", busy_slots)
    await cancelled_embedding(runner)
    waiting = asyncio.create_task(take_slot(runner))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    polled.set()
    await asyncio.wait_for(waiting, 5)
    assert not busy


@pytest.mark.parametrize("turns", [0, 5], ids=["at once", "while it polls"])
async def test_a_runner_that_stops_leaves_no_request_waiting_for_a_slot(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    monkeypatch.setattr(runner.llama, "busy_slots", asyncio.Event().wait)
    await cancelled_embedding(runner)
    waiting = asyncio.create_task(take_slot(runner))
    for _ in range(turns):
        await asyncio.sleep(0)
    await runner.stop()
    await asyncio.wait_for(waiting, 5)


async def test_more_requests_than_may_wait_are_refused(runner: Runner) -> None:
    async with runner.all_slots():
        waiting = asyncio.create_task(take_slot(runner))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await take_slot(runner)
    await asyncio.wait_for(waiting, 5)
