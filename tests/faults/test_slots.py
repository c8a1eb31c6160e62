"""The model server never gets more requests than it has slots, whatever they are and whoever leaves."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, Received, line
from tests.integration.apis import CASES, CHAT
from tests.integration.programs import gateway
from tests.integration.queue.queues import Asked, Queue, served, until
from tests.load.workers import workers_of
from tests.processes import wait_until

WIDE = {"GATEWAY_QUEUE": "1000", "GATEWAY_QUEUE_PER_CALLER": "1000"}
MODELS = ("one", "two", "three")
# Each kind of request that makes a model work, besides CASES.
OTHERS: dict[str, dict[str, Any]] = {
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/api/generate": {},  # only loads the model
}
SIZES = (None, 2048, 8192)


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        for model in MODELS:
            server.answer(model, 0.03, line(), DONE)
        yield server


def mixed() -> list[tuple[str, dict[str, Any]]]:
    """Requests of every kind for each model, most of them with one size of its context."""
    requests: list[tuple[str, dict[str, Any]]] = []
    for model in MODELS:
        for stream in (True, False):
            requests += [
                (case.path, case.request(model, stream=stream)) for case in CASES if stream or case != CHAT
            ]
        requests += [(path, {"model": model, **fields}) for path, fields in OTHERS.items()]
        for size in SIZES:
            options = {"options": {"num_ctx": size}} if size else {}
            requests += [("/api/chat", CASES[1].request(model, **options))] * 4
    return requests


async def send(url: str, requests: list[tuple[str, dict[str, Any]]]) -> list[int]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        answers = await asyncio.gather(*(http.post(path, json=body) for path, body in requests))
        assert (await http.get("/queue")).json() == {"running": [], "waiting": []}
        return [answer.status_code for answer in answers]


def field(received: Received, name: str) -> Any:
    return json.loads(received.body).get(name)


def options(received: Received) -> Any:
    return (field(received, "options") or {}).get("num_ctx")


def at_once(received: list[Received]) -> list[list[Received]]:
    """At the beginning of each request, all that run then."""
    return [
        [other for other in received if other.began_at <= one.began_at < other.ended_at] for one in received
    ]


async def test_a_model_never_gets_more_requests_than_its_slots(fake: FakeOllama, tmp_path: Path) -> None:
    requests = mixed()
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="2", **WIDE) as (_, url):
        await send(url, requests)
    assert len(fake.received) == len(requests)
    for model in MODELS:
        running = at_once([received for received in fake.received if field(received, "model") == model])
        assert max(map(len, running)) == 2
        assert all(len({options(received) for received in those}) == 1 for those in running)


async def test_no_more_models_are_used_at_once_than_the_engine_keeps_in_memory(
    fake: FakeOllama, tmp_path: Path
) -> None:
    fake.capacity = {"slots": 3, "max_loaded_models": 2}
    with gateway(fake.url, tmp_path, **WIDE) as (_, url):
        await send(url, mixed())
    running = at_once(fake.received)
    assert max(len({field(received, "model") for received in those}) for those in running) == 2
    of_one = [
        sum(field(received, "model") == model for received in those) for model in MODELS for those in running
    ]
    assert max(of_one) == 3


@pytest.mark.parametrize(
    ("settings", "capacity", "slots"),
    [
        ({}, {}, 4),
        ({"OLLAMA_NUM_PARALLEL": "3"}, {}, 3),
        ({"OLLAMA_NUM_PARALLEL": "3"}, {"slots": 2}, 2),
        ({"GATEWAY_SLOTS": "1", "OLLAMA_NUM_PARALLEL": "3"}, {"slots": 2}, 1),
        ({"GATEWAY_SLOTS": "0"}, {"slots": 2}, 12),
    ],
)
async def test_the_number_of_slots_is_set_or_reported_or_assumed(
    fake: FakeOllama, tmp_path: Path, settings: dict[str, str], capacity: dict[str, int], slots: int
) -> None:
    fake.capacity = capacity
    fake.answer("one", Do.WAIT, line(), DONE)
    with gateway(fake.url, tmp_path, **{**WIDE, **settings}) as (_, url):
        sending = asyncio.create_task(send(url, [("/chat", CHAT.request("one"))] * 12))
        async with httpx.AsyncClient(base_url=url) as http:
            for _ in count():
                lists = (await http.get("/queue")).json()
                if len(lists["running"]) + len(lists["waiting"]) == 12:
                    break
                await asyncio.sleep(0.01)
        assert len(lists["running"]) == slots
        await until(lambda: fake.answering == slots, "they are upstream")
        fake.go_on()
        assert await sending == [200] * 12


async def test_models_of_other_hosts_take_no_slots(fake: FakeOllama, tmp_path: Path) -> None:
    fake.remote["one"] = "https://elsewhere"
    fake.answer("one", Do.WAIT, line(), DONE)
    settings = {"GATEWAY_SLOTS": "1", "GATEWAY_CLOUD_MODELS": "on"}
    with gateway(fake.url, tmp_path, **settings) as (_, url):
        sending = asyncio.create_task(send(url, [("/chat", CHAT.request("one"))] * 5))
        await until(lambda: fake.answering == 5, "all are upstream")
        fake.go_on()
        assert await sending == [200] * 5


async def test_lists_and_management_take_no_slot(tmp_path: Path) -> None:
    settings = {"GATEWAY_SLOTS": "1", "GATEWAY_QUEUE": "0"}
    with served(tmp_path, settings) as running:
        async with running.queue() as queue:
            queue.answer(CHAT)
            await queue.runs(CHAT)
            queue.fake.answer("m", DONE)  # for what does not wait
            for path in ("/api/tags", "/api/ps", "/v1/models", "/api/version"):
                assert (await queue.http.get(path, headers=queue.key("alice"))).status_code == 200
            managing: dict[str, dict[str, str]] = {
                "/api/show": {"model": "m"},
                "/api/copy": {"source": "m", "destination": "n"},
                "/api/pull": {"model": "m"},
            }
            for path, body in managing.items():
                await queue.http.post(path, json=body, headers=queue.key("admin"))
                assert any(received.path == path for received in queue.fake.received)


async def test_stopping_answers_what_waits_if_there_is_time(tmp_path: Path) -> None:
    with served(tmp_path, {"GATEWAY_SLOTS": "1"}) as running:
        async with running.queue() as queue:
            queue.answer(CHAT)
            holder = await queue.runs(CHAT)
            waiting = [await queue.waits(CHAT, who) for who in ("alice", "bob")]
            running.process.popen.send_signal(signal.SIGTERM)
            queue.fake.go_on()
            for asked in (holder, *waiting):
                await asked.end()
                assert (asked.status, CHAT.terminals(asked.body)) == (200, 1)
                assert not CHAT.tells_an_error(asked.body)
        assert running.process.popen.wait(10) == 0


async def test_stopping_ends_what_still_waits_when_the_time_is_over(tmp_path: Path) -> None:
    late = {"GATEWAY_SLOTS": "1", "GATEWAY_EARLY_COMMIT": "30"}
    with served(tmp_path, late) as running:
        async with running.queue() as queue:
            queue.answer(CHAT)
            await queue.runs(CHAT)
            waiting = await queue.waits(CHAT)
            running.process.popen.send_signal(signal.SIGTERM)
            await waiting.end()
            assert waiting.status == 503
            assert json.loads(waiting.body)["error"]["code"] == "shutting_down"
            assert not queue.reached(waiting)
        assert running.process.popen.wait(10) == 0


def gauges(url: str) -> dict[str, float]:
    """The sums of the gauges of slots and queue."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = {"busy": 0.0, "free": 0.0, "waiting": 0.0}
    for sample in text.splitlines():
        name, _, value = sample.rpartition(" ")
        if name.startswith("gateway_slots{"):
            found["busy" if 'state="busy"' in name else "free"] += float(value)
        elif name.startswith("gateway_queue_length"):
            found["waiting"] += float(value)
    return found


async def take_all_slots(queue: Queue, slots: int) -> list[Asked]:
    """Send requests until as many are answered: which worker accepts a connection is up to the kernel."""
    asked: list[Asked] = []
    while queue.fake.answering < slots:
        assert len(asked) < 500
        asked.append(queue.ask(CHAT))
        await asyncio.sleep(0.02)
    return asked


async def test_the_slots_of_a_killed_worker_come_back(tmp_path: Path) -> None:
    two = {"GATEWAY_WORKERS": "2", "GATEWAY_SLOTS": "4", "GATEWAY_OPEN_METRICS": "on", **WIDE}
    with served(tmp_path, two) as running:
        assert "each of the 2 workers has its share of the slots" in running.process.output
        async with running.queue() as queue:
            queue.answer(CHAT)
            first = await take_all_slots(queue, 4)
            victim = workers_of(running.process)[0]
            os.kill(victim, signal.SIGKILL)
            await until(lambda: any(asked.task.done() for asked in first), "its clients notice")
            await until(lambda: queue.fake.answering == 2, "the model server notices")
            wait_until(lambda: len(set(workers_of(running.process)) - {victim}) == 2, 20, "it is replaced")
            more = await take_all_slots(queue, 4)
            queue.fake.go_on()
            for asked in (*first, *more):
                await asyncio.wait({asked.task})
            complete = [asked for asked in (*first, *more) if not asked.task.exception()]
            assert len(complete) >= len(more)
            assert all(CHAT.terminals(asked.body) == 1 for asked in complete)
        running.fake.loaded = [{"name": "m:latest"}]  # or its free slots are not reported
        expected = {"busy": 0, "free": 4, "waiting": 0}
        wait_until(lambda: gauges(running.url) == expected, 30, "the gauges agree")
