"""Answers are read at gateways that do not make them, and something goes wrong."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, Step, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway, line_of
from tests.integration.queue.queues import until
from tests.integration.resume.background import begun as begun_response
from tests.integration.resume.background import client_of, until_status
from tests.integration.resume.events import events, numbered
from tests.integration.resume.gateways import Gateway, gateways, wait_until_met
from tests.load.workers import workers_of
from tests.model.clients.answers import RESPONSE
from tests.processes import wait_until
from tests.valkey import Server, valkey

ASYNC = {"Prefer": "respond-async"}
SETTINGS = {"GATEWAY_SLOTS": "20", "GATEWAY_HEARTBEAT": "1", "GATEWAY_GRACE": "8"}
HALF = (line("a"), line("b\u2028\u00e9"))
REST = (line("c"), DONE)


class Stage(NamedTuple):
    """Three gateways: the first makes all answers."""

    fake: FakeOllama
    server: Server
    gateways: list[Gateway]

    @property
    def home(self) -> Gateway:
        return self.gateways[0]

    @property
    def others(self) -> list[Gateway]:
        return self.gateways[1:]


@contextmanager
def stage(folder: Path, **environment: str) -> Iterator[Stage]:
    fake = FakeOllama()
    fake.answer("short", *HALF, *REST)
    fake.answer("halts", *HALF, Do.WAIT, *REST)
    fake.answer("hangs", *HALF, Do.HANG)
    fake.answer("silent", Do.HANG)
    fake.answer("response", *RESPONSE[:5], Do.WAIT, *RESPONSE[5:])
    settings = {**SETTINGS, **environment}
    with (
        fake.running(),
        valkey(folder) as server,
        gateways(3, fake.url, server.url, folder, **settings) as running,
    ):
        yield Stage(fake, server, running)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture
def three(lasting: Stage) -> Iterator[Stage]:
    """Which a test may kill: they and the server come back."""
    wait_until_met(lasting.gateways)
    lasting.fake.pause()
    yield lasting
    lasting.fake.go_on()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """Which a test may stop."""
    with stage(tmp_path) as running:
        yield running


def kill(gateway: Gateway) -> None:
    """Its process; there is another one at once, which knows nothing."""
    (worker,) = workers_of(gateway.process)
    os.kill(worker, signal.SIGKILL)


def frames(*lines: bytes) -> bytes:
    """The events of the model server's lines."""
    return b"".join(b"id: %d\ndata: %b\n" % (number, text) for number, text in enumerate(lines, 1))


WHOLE = frames(*HALF, *REST)


def answer_in(body: bytes) -> bytes:
    """What is part of the answer, and not about it, byte by byte."""
    return b"".join(event + b"\n\n" for event in body.split(b"\n\n") if event.startswith(b"id: "))


async def begun(client: httpx.AsyncClient, home: Gateway, model: str) -> str:
    """The path of an answer."""
    sent = await client.post(f"{home.url}/chat", json=question(model), headers=ASYNC)
    assert sent.status_code == 202
    return str(sent.headers["location"])


class Reader:
    """Reads an answer in a task of its own."""

    def __init__(self, client: httpx.AsyncClient, url: str, after: int = 0) -> None:
        self.body = b""
        self._task = asyncio.create_task(self._read(client, url, after))

    async def _read(self, client: httpx.AsyncClient, url: str, after: int) -> None:
        async with client.stream("GET", url, params={"after": after}) as response:
            assert response.status_code == 200
            async for piece in response.aiter_raw():
                self.body += piece

    @property
    def answer(self) -> bytes:
        return answer_in(self.body)

    async def has(self, expected: bytes) -> None:
        await until(lambda: self._task.done() or self.answer == expected, f"{self.body!r} is {expected!r}")
        assert self.answer == expected

    async def ends(self) -> bytes:
        async with asyncio.timeout(30):
            await self._task
        return self.answer


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        yield client


async def test_every_gateway_gives_the_model_servers_own_text(
    three: Stage, client: httpx.AsyncClient
) -> None:
    """In pieces of every size, with pauses that a batch falls into, to readers that come at any time."""
    chance = random.Random(17)
    lines = [
        line(chr(chance.choice([0x20, 0xE9, 0x2028, 0x1F600])) * chance.randint(1, 400)) for _ in range(600)
    ]
    text = b"".join([*lines, DONE])
    steps: list[Step] = []
    while text:
        size = chance.randint(1, 3000)
        steps += [text[:size], chance.choice([0.0, 0.001, 0.02, 0.03])]
        text = text[size:]
    three.fake.answer("long", *steps)
    expected = frames(*lines, DONE)
    path = await begun(client, three.home, "long")
    readers: list[tuple[Reader, int]] = []
    for number in range(30):
        each, after = three.gateways[number % 3], 0
        if number > 5:
            seen = numbered(chance.choice(readers[:3])[0].body)
            after = int(seen[-1].id) if seen else 0
        readers.append((Reader(client, each.url + path, after), after))
        await asyncio.sleep(chance.uniform(0, 0.1))
    for reader, after in readers:
        assert await reader.ends() == expected[len(frames(*[*lines, DONE][:after])) :]


async def test_what_has_been_seen_anywhere_can_be_read_on_everywhere(
    three: Stage, client: httpx.AsyncClient
) -> None:
    """At once, though it is written in batches."""
    steps = [step for number in range(50) for step in (line(f"{number}"), 0.005)]
    three.fake.answer("steps", *steps, DONE)
    for _ in range(10):
        path = await begun(client, three.home, "steps")
        seen, place = 0, three.home
        while seen < 51:
            async with client.stream("GET", place.url + path, params={"after": seen}) as reading:
                assert reading.status_code == 200
                body = b""
                async for piece in reading.aiter_raw():
                    body += piece
                    if numbered(body):
                        break
            ids = [int(event.id) for event in numbered(body)]
            assert ids == [*range(seen + 1, seen + len(ids) + 1)]
            seen += len(ids)
            place = random.choice(three.gateways)
        last = await client.get(random.choice(three.others).url + path, params={"after": seen})
        assert last.status_code == 204


async def test_who_waits_elsewhere_hears_something(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "silent")
    reader = Reader(client, three.others[0].url + path)
    await until(lambda: reader.body.count(b": keep-alive\n\n") >= 3, "heartbeats")
    assert (await client.delete(three.home.url + path)).status_code == 204
    (error,) = numbered(await reader.ends())
    assert json.loads(error.data)["error"]["code"] == "answer_stopped"


async def test_deleted_anywhere_it_is_gone_everywhere(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "hangs")
    readers = [Reader(client, each.url + path) for each in three.gateways]
    for reader in readers:
        await reader.has(frames(*HALF))
    assert (await client.delete(three.others[1].url + path)).status_code == 204
    for each in three.gateways:
        assert (await client.get(each.url + path)).status_code == 404
    await until(lambda: not three.fake.answering, "the model is free", 1)
    bodies = {await reader.ends() for reader in readers}
    assert len(bodies) == 1
    assert [event.name for event in numbered(bodies.pop())] == ["", "", "error"]


@pytest.mark.parametrize("place", [0, 1])
async def test_an_ended_one_is_deleted_from_anywhere(
    place: int, three: Stage, client: httpx.AsyncClient
) -> None:
    for _ in range(20):
        path = await begun(client, three.home, "short")
        assert await Reader(client, three.others[0].url + path).ends() == WHOLE
        assert (await client.delete(three.gateways[place].url + path)).status_code == 204
        assert {(await client.get(each.url + path)).status_code for each in three.gateways} == {404}


async def test_reading_elsewhere_keeps_it_going(three: Stage, client: httpx.AsyncClient) -> None:
    sent = await client.post(
        f"{three.home.url}/chat", json=question("halts"), headers={"Prefer": "respond-async, resume=1"}
    )
    path = sent.headers["location"]
    reader = Reader(client, three.others[0].url + path)
    await reader.has(frames(*HALF))
    await asyncio.sleep(3)  # longer than it would wait without a reader
    three.fake.go_on()
    assert await reader.ends() == WHOLE


async def test_when_nobody_reads_it_anywhere_the_model_is_freed(
    three: Stage, client: httpx.AsyncClient
) -> None:
    sent = await client.post(
        f"{three.home.url}/chat", json=question("hangs"), headers={"Prefer": "respond-async, resume=1"}
    )
    async with client.stream("GET", three.others[0].url + sent.headers["location"]) as reading:
        await anext(reading.aiter_raw())
    await until(lambda: not three.fake.answering, "nobody has come back")
    assert line_of(three.home.process, sent.headers["x-request-id"])["outcome"] == "client_gone"


async def test_if_its_gateway_is_killed_it_ends_with_one_error_the_same_everywhere(
    three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "hangs")
    readers = [Reader(client, each.url + path) for each in three.others for _ in range(2)]
    for reader in readers:
        await reader.has(frames(*HALF))
    kill(three.home)
    bodies = {await reader.ends() for reader in readers}
    assert len(bodies) == 1
    (body,) = bodies
    *_, error = numbered(body)
    assert body.startswith(frames(*HALF))
    assert (len(numbered(body)), error.id, error.name) == (3, "3", "error")
    assert json.loads(error.data)["error"]["code"] == "answer_lost"
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == body
        assert (await client.get(each.url + path, params={"after": 3})).status_code == 204


async def test_one_that_has_ended_outlives_its_gateway(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "short")
    assert await Reader(client, three.others[0].url + path).ends() == WHOLE
    kill(three.home)
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == WHOLE
    assert (await client.delete(three.others[0].url + path)).status_code == 204
    assert (await client.get(three.others[1].url + path)).status_code == 404


def test_a_background_response_whose_gateway_is_killed_has_failed(three: Stage) -> None:
    with client_of(three.home.url) as home, client_of(three.others[0].url) as other:
        answer_id = begun_response(home, "response")
        assert until_status(other, answer_id, "in_progress").id == answer_id
        kill(three.home)
        failed = until_status(other, answer_id, "failed")
        assert failed.error
        assert "is gone" in failed.error.message
        assert (failed.id, failed.model) == (answer_id, "m")


async def test_a_gateway_that_stops_finishes_what_is_read_elsewhere(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "halts")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.home.process.popen.send_signal(signal.SIGTERM)
    await until(lambda: "Shutting down" in own.home.process.output, "it stops")
    late = Reader(client, own.others[1].url + path)
    await late.has(frames(*HALF))
    own.fake.go_on()
    assert {await reader.ends(), await late.ends()} == {WHOLE}
    assert own.home.process.popen.wait(20) == 0
    assert await Reader(client, own.others[1].url + path).ends() == WHOLE


async def test_one_that_cannot_finish_in_time_says_so_elsewhere(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "hangs")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.home.process.popen.send_signal(signal.SIGTERM)
    *_, error = numbered(await reader.ends())
    assert (error.name, json.loads(error.data)["error"]["code"]) == ("error", "shutting_down")
    assert own.home.process.popen.wait(20) == 0


async def test_a_reader_of_a_gateway_that_stops_reads_on_at_another(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "halts")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.others[0].process.popen.send_signal(signal.SIGTERM)
    assert await reader.ends() == frames(*HALF)
    *_, error = events(reader.body)
    assert (error.id, error.name) == ("", "error")  # it is not part of the answer
    assert json.loads(error.data)["error"]["code"] == "shutting_down"
    own.fake.go_on()
    assert await Reader(client, own.others[1].url + path, 2).ends() == WHOLE[len(frames(*HALF)) :]


@pytest.mark.parametrize("way", ["killed", "silent"])
async def test_without_valkey_it_goes_on_at_home_and_then_everywhere(
    way: str, three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "halts")
    readers = [Reader(client, each.url + path) for each in three.gateways]
    for reader in readers:
        await reader.has(frames(*HALF))
    if way == "killed":
        three.server.kill()
    else:
        three.server.stop()
    assert await until_refused(client, three.others[1].url + "/chat/" + "x" * 24) == "answer_out_of_reach"
    three.fake.go_on()
    assert await readers[0].ends() == WHOLE
    assert answer_in((await client.get(three.home.url + path)).content) == WHOLE
    hearts = readers[1].body.count(b": keep-alive")
    await until(lambda: readers[1].body.count(b": keep-alive") > hearts + 1, "it is told to wait")
    if way == "killed":
        three.server.start()
    else:
        three.server.go_on()
    for reader in readers[1:]:
        assert await reader.ends() == WHOLE
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == WHOLE


async def until_refused(client: httpx.AsyncClient, url: str) -> str:
    """The code of a refusal with status 503, with which an answer that is unknown is not refused at first."""
    async with asyncio.timeout(20):
        while (refused := await client.get(url)).status_code != 503:
            assert refused.status_code == 404
            await asyncio.sleep(0.01)
    assert refused.headers["retry-after"]
    return str(refused.json()["error"]["code"])


async def test_one_begun_without_valkey_is_found_once_it_is_there(
    three: Stage, client: httpx.AsyncClient
) -> None:
    three.server.kill()
    await until_refused(client, three.home.url + "/chat/" + "x" * 24)
    path = await begun(client, three.home, "halts")
    assert (await client.get(three.others[0].url + path)).status_code == 503
    three.server.start()
    wait_until(lambda: httpx.head(three.others[0].url + path).status_code == 200, 20, "it is found")
    reader = Reader(client, three.others[0].url + path)
    await reader.has(frames(*HALF))
    three.fake.go_on()
    assert await reader.ends() == WHOLE


async def test_no_more_than_sixteen_read_one_answer_at_a_gateway(
    three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "halts")
    async with AsyncExitStack() as stack:
        for _ in range(16):
            await stack.enter_async_context(client.stream("GET", three.others[0].url + path))
        refused = await client.get(three.others[0].url + path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_readers")
        three.fake.go_on()
        assert await Reader(client, three.others[1].url + path).ends() == WHOLE


async def test_workers_of_one_gateway_read_each_others_answers(tmp_path: Path) -> None:
    with FakeOllama().running() as fake, valkey(tmp_path) as server:
        fake.answer("short", *HALF, *REST)
        shared = {"GATEWAY_WORKERS": "3", "GATEWAY_SHARED_URL": server.url, **SETTINGS}
        with gateway(fake.url, tmp_path, **shared) as (process, url):
            for _ in range(30):  # each over a connection of its own, which any worker may accept
                async with httpx.AsyncClient(timeout=30) as client:
                    path = await begun(client, Gateway(process, url), "short")
                async with httpx.AsyncClient(timeout=30) as client:
                    assert await Reader(client, url + path).ends() == WHOLE
            assert "cannot outlive" not in process.output


async def test_everything_in_valkey_ends_by_itself(tmp_path: Path) -> None:
    with stage(tmp_path, GATEWAY_RESUME_KEEP="2") as three:
        async with httpx.AsyncClient(timeout=30) as client:
            kept = [await begun(client, three.home, model) for model in ("short", "hangs", "silent")]
            for path in kept:
                reader = Reader(client, three.others[0].url + path)
                await until(lambda reader=reader: reader.body, "it is read")  # type: ignore[misc]
            keys = answers_in(three.server)
            assert len(keys) == 2 * len(kept)
            assert all(0 < three.server.command("PTTL", key) < 60_000 for key in keys)
            for path in kept[1:]:
                await client.delete(three.home.url + path)
            await until(lambda: not answers_in(three.server), "nothing is left", 30)


def answers_in(server: Server) -> list[str]:
    found: list[bytes] = server.command("KEYS", "sluice:answer:*")
    return [key.decode() for key in found]
