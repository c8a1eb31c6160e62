"""Answers that stay are stopped, left and joined at any moment of their lives."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.fakes.ollama import DONE, Answer, Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway, line_of
from tests.integration.queue.queues import until
from tests.integration.resume.events import events, numbered
from tests.integration.scrapes import value
from tests.load import remains
from tests.processes import Process, wait_until

# One model for all, since each has its own slots.
MODEL = "m"
SETTINGS = {
    "GATEWAY_SLOTS": "2",
    "GATEWAY_ADMIN_API": "on",
    "GATEWAY_QUEUE_PER_CALLER": "1000",
    "GATEWAY_QUEUE": "1000",
    "GATEWAY_GRACE": "6",
}
ASYNC = "respond-async"
RESUME = "resume=60"


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer(MODEL, DONE)
        server.answer("short", line("a"), line("b"), DONE)
        server.answer("silent", Do.WAIT, line("a"), DONE)
        server.answer("halts", line("a"), Do.WAIT, line("b"), DONE)
        server.answer("hangs", line("a"), Do.HANG)
        yield server


@pytest.fixture
def running(fake: FakeOllama, tmp_path: Path) -> Iterator[tuple[Process, str]]:
    with gateway(fake.url, tmp_path, **SETTINGS) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield process, url
        if process.popen.poll() is None:
            wait_until(lambda: not fake.answering, 20, "nothing is answered any more")
            wait_until(lambda: not remains.in_gateway(url), 20, "nothing is in flight")
            wait_until(lambda: value(url, "gateway_answers_kept", state="running") == 0, 20, "all ended")
        assert "unhandled" not in process.output
        assert "never awaited" not in process.output


@pytest_asyncio.fixture
async def http(running: tuple[Process, str]) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=running[1], timeout=30, limits=limits) as client:
        yield client


async def begun(http: httpx.AsyncClient, answers: str, prefer: str = ASYNC) -> httpx.Response:
    sent = await http.post("/chat", json=question(MODEL, answers=answers), headers={"Prefer": prefer})
    assert sent.status_code == 202
    return sent


def error_of(body: bytes) -> str:
    """The code of the error that is the last event, and the only end."""
    last = numbered(body)[-1]
    assert last.name == "error"
    assert b'"done":true' not in body
    code: str = json.loads(last.data)["error"]["code"]
    return code


async def stopped(http: httpx.AsyncClient, location: str, readers: int) -> list[bytes]:
    """What the readers of an answer get when it is stopped."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(http.stream("GET", location)) for _ in range(readers)]
        assert (await http.delete(location)).status_code == 204
        assert (await http.get(location)).status_code == 404
        return [await response.aread() for response in opened]


@pytest.mark.parametrize("readers", [0, 1, 5])
async def test_stopped_while_it_waits_in_the_queue(
    http: httpx.AsyncClient, running: tuple[Process, str], fake: FakeOllama, readers: int
) -> None:
    held = [(await begun(http, "halts")).headers["location"] for _ in range(2)]
    waits = await begun(http, "short")
    for body in await stopped(http, waits.headers["location"], readers):
        assert error_of(body) == "answer_stopped"
        assert [event.id for event in numbered(body)] == ["1"]
    entry = line_of(running[0], waits.headers["x-request-id"])
    assert (entry["outcome"], entry["backend"]) == ("rejected", None)
    fake.go_on()
    for location in held:
        assert len(numbered((await http.get(location)).content)) == 3
    assert len(fake.received) == 2


@pytest.mark.parametrize("readers", [0, 1, 5])
@pytest.mark.parametrize("answers", ["silent", "hangs"])
async def test_stopped_before_its_first_token_and_after_it(
    http: httpx.AsyncClient, fake: FakeOllama, answers: str, readers: int
) -> None:
    sent = await begun(http, answers)
    await until(lambda: fake.received, "it has been asked for")
    for body in await stopped(http, sent.headers["location"], readers):
        assert error_of(body) == "answer_stopped"
    await until(lambda: fake.received[0].gone.is_set(), "the model is free", 1)


async def test_stopped_while_its_model_is_loaded(http: httpx.AsyncClient, fake: FakeOllama) -> None:
    fake.loading = Answer([Do.WAIT, b'{"done":true,"done_reason":"load"}'])
    sent = await begun(http, "short")
    await until(lambda: fake.loads, "it loads")
    (body,) = await stopped(http, sent.headers["location"], 1)
    assert error_of(body) == "answer_stopped"
    assert [json.loads(event.data)["state"] for event in events(body) if event.name == "status"] in (
        ["loading"],
        [],
    )
    fake.go_on()
    assert len(fake.received) == 0


async def test_deleted_after_its_end(http: httpx.AsyncClient, running: tuple[Process, str]) -> None:
    sent = await begun(http, "short")
    location = sent.headers["location"]
    assert len(numbered((await http.get(location)).content)) == 3
    assert (await http.delete(location)).status_code == 204
    for method in ("GET", "HEAD", "DELETE"):
        assert (await http.request(method, location)).status_code == 404
    assert value(running[1], "gateway_answers_kept_bytes") == 0
    assert line_of(running[0], sent.headers["x-request-id"])["outcome"] == "ok"


async def test_joined_in_the_moment_of_its_end(http: httpx.AsyncClient) -> None:
    """Many times, at a slightly different moment each."""

    async def one(number: int) -> list[str]:
        location = (await begun(http, "short")).headers["location"]
        await asyncio.sleep(number / 20_000)
        return [event.id for event in numbered((await http.get(location)).content)]

    for number in range(100):
        assert await one(number) == ["1", "2", "3"]


async def test_joined_in_the_moment_in_which_its_time_is_over(
    http: httpx.AsyncClient, fake: FakeOllama
) -> None:
    """Whoever comes then reads it on, or reads how it ended."""

    async def one(number: int) -> None:
        location = (await begun(http, "hangs", "respond-async, resume=1")).headers["location"]
        await asyncio.sleep(0.9 + number / 200)
        async with http.stream("GET", location) as reading:
            body = b""
            async for piece in reading.aiter_raw():
                body += piece
                if b"id: 1\n" in body and len(numbered(body)) == 1 and not await ended(location):
                    return  # in time
        assert error_of(body) == "answer_stopped"
        assert [event.id for event in numbered(body)] == ["1", "2"]

    async def ended(location: str) -> bool:
        await asyncio.sleep(0.5)
        return (await http.head(location, params={"after": 2})).status_code == 204

    for start in range(0, 32, 4):
        await asyncio.gather(one(start), one(start + 2))
        await until(lambda: not fake.answering, "the model is free", 5)


async def test_joined_and_left_by_many_at_once(http: httpx.AsyncClient, fake: FakeOllama) -> None:
    location = (await begun(http, "halts")).headers["location"]

    async def visit(number: int) -> None:
        async with http.stream("GET", location) as reading:
            assert reading.status_code in (200, 429)
            await asyncio.sleep(number % 10 / 100)

    for _ in range(5):
        await asyncio.gather(*(visit(number) for number in range(40)))
    assert fake.answering == 1
    fake.go_on()
    assert len(numbered((await http.get(location)).content)) == 3


async def test_left_before_it_is_accepted(http: httpx.AsyncClient, fake: FakeOllama) -> None:
    """The client does not know the address, so nobody can come back."""
    for _ in range(4):
        asking = asyncio.create_task(begun(http, "hangs", "respond-async, resume=1"))
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait({asking})
    await until(lambda: not fake.answering, "the model is free", 10)


async def test_a_drain_ends_what_is_not_read_and_waits_for_the_rest(
    http: httpx.AsyncClient, running: tuple[Process, str], fake: FakeOllama
) -> None:
    process, _ = running
    unread, read = await begun(http, "halts"), await begun(http, "halts")
    queued = await begun(http, "short")
    async with http.stream("GET", read.headers["location"]) as reading:
        pieces = reading.aiter_raw()
        body = await anext(pieces)
        started = time.monotonic()
        process.popen.send_signal(signal.SIGTERM)
        for sent in (unread, queued):
            entry = line_of(process, sent.headers["x-request-id"])
            assert entry["outcome"] == "drained"
        assert time.monotonic() - started < 3
        fake.go_on()
        body += b"".join([piece async for piece in pieces])
    assert [event.id for event in numbered(body)] == ["1", "2", "3"]
    assert process.popen.wait(20) == 0
    assert line_of(process, read.headers["x-request-id"])["outcome"] == "ok"


async def test_a_drain_ends_at_last_what_is_read(
    http: httpx.AsyncClient, running: tuple[Process, str], fake: FakeOllama
) -> None:
    process, _ = running
    first = question(MODEL, answers="hangs")
    async with (
        http.stream("POST", "/chat", json=first, headers={"Prefer": RESUME}) as asked,
        http.stream("GET", asked.headers["location"]) as reading,
    ):
        process.popen.send_signal(signal.SIGTERM)
        bodies = [await asked.aread(), await reading.aread()]
    assert [error_of(body) for body in bodies] == ["shutting_down"] * 2
    assert process.popen.wait(20) == 0
    assert line_of(process, asked.headers["x-request-id"])["outcome"] == "drained"
