"""What a request leaves behind: nothing for the collector, which holds up every stream while it works."""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from gateway.garbage import Collector
from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.integration.apis import CASES
from tests.load import storm
from tests.unit.gateway.conftest import logging_as_before  # noqa: F401  # a fixture
from tests.unit.gateway.in_process import running

MAX_BODY = 100_000
MEGABYTE = 1024 * 1024
LIMITS = {
    "max_body_bytes": MAX_BODY,
    "early_commit": 0.02,
    "heartbeat": 0.02,
    "first_byte_timeout": 0.1,
    "idle_timeout": 0.1,
}


@pytest.fixture
def collector() -> Iterator[None]:
    """It finds what there is when it is asked, and keeps it."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def found() -> Counter[str]:
    """What of a request's is left; its client and the fake upstream are in this process too."""
    gc.collect()
    kinds = [type(it) for it in gc.garbage]
    gc.garbage.clear()
    return Counter(
        kind.__qualname__ for kind in kinds if kind.__module__.startswith(("gateway.", "uvicorn."))
    )


@pytest.mark.usefixtures("collector", "logging_as_before")
async def test_no_request_waits_for_the_collector_however_it_ends() -> None:
    case = CASES[0]
    faults = (*storm.faults(case), *(f"status {status}" for status in storm.STATUSES))
    with FakeOllama().running() as fake:
        storm.prepare(fake)
        async with running(fake.url, **LIMITS) as url:
            report = storm.Report()
            for fault in faults:
                await storm.one(url, case, fault, report)
                async with asyncio.timeout(10):
                    while fake.answering:  # noqa: ASYNC110 - a fake tells nobody
                        await asyncio.sleep(0.01)
                assert not found(), fault
            assert not report.wrong


BODIES = {
    "cut off": b'{"model": "m", "messages": [{"role": "us',
    "no object": b"[1]",
    "no model": b'{"messages": []}',
    "a number for a model": b'{"model": 1}',
    "nested": b'{"model": "m", "x": ' + b"[" * 600,
    "too large": b'{"model": "m", "x": "' + b"y" * MAX_BODY + b'"}',
    "a model that is not there": b'{"model": "nothing"}',
    "a model of the cloud": b'{"model": "m:cloud"}',
}


@pytest.mark.usefixtures("collector", "logging_as_before")
async def test_what_is_refused_leaves_nothing_either() -> None:
    with FakeOllama().running() as fake:
        async with running(fake.url, **LIMITS) as url, httpx.AsyncClient(base_url=url) as client:
            for path in ("/healthz", "/api/tags", "/nothing-here", "/v1/models/a/b"):
                await client.get(path)
                assert not found(), path
            for path in ("/chat", "/api/generate", "/v1/messages", "/api/pull"):
                for name, body in BODIES.items():
                    await client.post(path, content=body)
                    assert not found(), (path, name)


@pytest.mark.usefixtures("collector", "logging_as_before")
async def test_what_waits_for_a_slot_leaves_nothing_either() -> None:
    """Whether it gets its turn, leaves the queue, is refused, or waits too long."""
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    limits = {**LIMITS, "first_byte_timeout": 60, "slots": 1, "queue_per_caller": 1, "queue_timeout": 0.3}
    with FakeOllama().running() as fake:
        fake.answer("m", Do.HANG)
        async with running(fake.url, **limits) as url, httpx.AsyncClient(base_url=url) as client:
            holder = asyncio.create_task(client.post("/chat", json=question))
            async with asyncio.timeout(10):
                while not fake.answering:  # noqa: ASYNC110 - a fake tells nobody
                    await asyncio.sleep(0.01)
            with suppress(TimeoutError):
                await asyncio.wait_for(client.post("/chat", json=question), 0.1)
            late, refused = await asyncio.gather(
                client.post("/chat", json=question), client.post("/chat", json=question)
            )
            assert "queue_timeout" in late.text
            assert refused.status_code == 429
            await (await client.get("/queue")).aread()
            waits = asyncio.create_task(client.post("/chat", json=question))
            await asyncio.sleep(0)
            fake.answer("m", DONE)
            holder.cancel()
            await asyncio.wait({holder, waits})
            assert (await waits).status_code == 200
            assert not found()


@pytest.mark.usefixtures("collector", "logging_as_before")
async def test_what_waits_again_because_its_server_has_failed_leaves_nothing_either() -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with FakeOllama().running() as first, FakeOllama().running() as second:
        urls = f"{first.url} name=first weight=1000, {second.url} name=second weight=0.01"
        limits = {**LIMITS, "first_byte_timeout": 60, "slots": 1, "queue_timeout": 0.5, "ollama_urls": urls}
        for fake in (first, second):
            fake.loaded = [{"name": "m:latest"}]
            fake.answer("m", Do.HANG)
        async with (
            running(first.url, **limits) as url,
            httpx.AsyncClient(base_url=url) as client,
            asyncio.timeout(20),
        ):
            both = [asyncio.create_task(client.post("/chat", json=question)) for _ in range(2)]
            while not (first.answering and second.answering):  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
            both[0].cancel()
            while first.answering and second.answering:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            failing, holding = (second, first) if first.answering else (first, second)
            assert not found(), "left before the first byte"
            failing.answer("m", b'{"error":"broken"}', status=500)
            late = await client.post("/chat", json=question)
            assert "queue_timeout" in late.text
            both[1].cancel()
            while holding.answering:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not found(), "waited again for too long"


@pytest.mark.usefixtures("collector", "logging_as_before")
async def test_who_leaves_a_pull_to_several_servers_leaves_nothing_either() -> None:
    with FakeOllama().running() as first, FakeOllama().running() as second:
        urls = f"{first.url} name=first, {second.url} name=second"
        for fake in (first, second):
            fake.answer("m", Do.HANG)
        async with (
            running(first.url, ollama_urls=urls, admin_api="on") as url,
            httpx.AsyncClient(base_url=url) as client,
            asyncio.timeout(20),
        ):
            pull = asyncio.create_task(client.post("/api/pull", json={"model": "m"}))
            while not (first.answering and second.answering):  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
            pull.cancel()
            while first.answering or second.answering:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not found()


def test_a_worker_that_is_never_idle_collects_only_if_its_memory_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A library's cycle may hold megabytes in a few objects."""
    collections: list[int] = []
    memory = 100 * MEGABYTE
    monkeypatch.setattr("gateway.garbage.resident_bytes", lambda: memory)
    monkeypatch.setattr("gateway.garbage.gc.collect", lambda: collections.append(memory // MEGABYTE))
    collector = Collector()
    for megabytes in (100, 500, 612, 613, 900, 1125, 1126):
        memory = megabytes * MEGABYTE
        collector.while_busy()
    assert collections == [613, 1126]
