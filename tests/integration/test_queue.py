"""What clients of each API see while they wait for a slot, are refused one, leave, or are stopped."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes.ollama import Do
from tests.integration.apis import CASES, CHAT, Case, whole_answer
from tests.integration.programs import LIMITS, line_of, nginx
from tests.integration.queues import PROMPT, Asked, Queue, Served, served, until
from tests.processes import wait_until

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_way = pytest.mark.parametrize(
    ("case", "stream"),
    [(case, stream) for case in CASES for stream in (True, False) if stream or case is not CHAT],
    ids=lambda value: value.name if isinstance(value, Case) else ("whole", "stream")[value],
)
BOUNDS = {"GATEWAY_SLOTS": "1", "GATEWAY_QUEUE": "4", "GATEWAY_QUEUE_PER_CALLER": "3"}
# Of the event loop's timers and of the way to the client.
JITTER = 0.5


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("queue"), BOUNDS) as running:
        yield running


@pytest_asyncio.fixture
async def queue(gateway: Served) -> AsyncIterator[Queue]:
    async with gateway.queue() as new:
        yield new


def statuses(asked: Asked) -> list[tuple[float, dict[str, Any]]]:
    """The status events of /chat, with the times at which they came."""
    return [
        (at, json.loads(data))
        for at, piece in asked.pieces
        for data in re.findall(rb"^event: status\ndata: (.*)$", piece, re.MULTILINE)
    ]


def positions(asked: Asked) -> list[tuple[int, int]]:
    shown = [status for _, status in statuses(asked) if status["state"] == "queued"]
    assert all(status["eta_seconds"] >= 1 for status in shown)
    return [(status["position"], status["of"]) for status in shown]


async def test_chat_shows_the_position_as_it_counts_down_to_the_answer(queue: Queue) -> None:
    queue.answer(CHAT)
    before = [await queue.runs(CHAT)]
    before += [await queue.waits(CHAT), await queue.waits(CHAT)]
    last = await queue.waits(CHAT)
    for position in (3, 2, 1):
        await until(lambda: positions(last)[-1:] == [(position, position)], f"position {position}")  # noqa: B023
        await before.pop(0).leave()
    await until(lambda: queue.reached(last), "it has a slot")
    queue.fake.go_on()
    await last.end()
    assert positions(last) == [(3, 3), (2, 2), (1, 1)]
    assert [status["state"] for _, status in statuses(last)][-1] in ("queued", "loading")
    assert last.body.rindex(b"event: status") < last.body.index(b"id: 1\n")
    assert CHAT.terminals(last.body) == 1


async def test_the_position_is_shown_at_most_once_a_second(queue: Queue) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    others = [await queue.waits(CHAT), await queue.waits(CHAT)]
    last = await queue.waits(CHAT)
    await until(lambda: positions(last), "the position is shown")
    for other in others:
        await other.leave()
    await until(lambda: positions(last)[-1] == (1, 1), "it is the next one")
    times = [at for at, _ in statuses(last)]
    assert all(later - earlier > JITTER for earlier, later in pairwise(times))


@every_api
async def test_a_stream_that_waits_shows_its_position_if_its_format_can(queue: Queue, case: Case) -> None:
    queue.answer(case)
    holder = await queue.runs(case)
    waiting = await queue.waits(case)
    signs = {
        "ChatSSE": rb'event: status\ndata: {"state": "queued", "position": 1, "of": 1, "eta_seconds": \d+}',
        "Ndjson": rb"  ",
    }
    shown = signs.get(case.dialect, rb': queued {"position": 1, "of": 1, "eta_seconds": \d+}')
    await until(lambda: re.match(shown, waiting.body), "the client gets a sign")
    before = waiting.body
    await until(lambda: len(waiting.body) > len(before), "heartbeats follow")
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    assert case.terminals(waiting.body) == 0
    queue.fake.go_on()
    await waiting.end()
    assert waiting.status == 200
    assert case.terminals(waiting.body) == 1
    if case.dialect == "Ndjson":
        assert waiting.body.lstrip(b" ") == case.answer.whole
    else:
        answer = re.sub(rb"^(event: status\ndata: |: ).*\n\n", b"", waiting.body, flags=re.MULTILINE)
        assert answer.startswith(b"id: 1\ndata: ") if case is CHAT else case.same(answer) == case.answer.whole


async def test_the_position_comes_through_nginx_immediately(queue: Queue, edge: str) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    waiting = await queue.waits(CHAT, url=edge)
    await until(lambda: positions(waiting) == [(1, 1)], "nginx has passed it on")


async def test_an_answer_that_does_not_stream_is_silent_until_it_is_whole(queue: Queue) -> None:
    case = CASES[1]
    queue.answer(case, stream=False)
    holder = await queue.runs(case, stream=False)
    waiting = await queue.waits(case, stream=False)
    streaming = await queue.waits(CHAT)
    await until(lambda: positions(streaming), "one that streams would have been told")
    assert (waiting.status, waiting.pieces) == (0, [])
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    queue.fake.go_on()
    await waiting.end()
    assert (waiting.status, waiting.body) == (200, whole_answer(case))


REFUSALS: dict[str, dict[str, Any]] = {
    "/chat": {"error": {"type": "overloaded_error", "code": "overloaded"}},
    "/api": {"error": "server busy, please try again"},
    "/v1": {"error": {"type": "api_error", "code": "overloaded", "param": None}},
    "/v1/messages": {"type": "error", "error": {"type": "overloaded_error"}},
}
CALLERS_REFUSALS: dict[str, dict[str, Any]] = {
    "/chat": {"error": {"type": "rate_limit_error", "code": "rate_limited"}},
    "/api": {"error": "server busy, please try again"},
    "/v1": {"error": {"type": "requests", "code": "rate_limit_exceeded", "param": None}},
    "/v1/messages": {"type": "error", "error": {"type": "rate_limit_error"}},
}


def of_path(values: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    """The value for the longest beginning of `path`."""
    return values[max((start for start in values if path.startswith(start)), key=len)]


def check_refusal(asked: Asked, expected: dict[str, Any], *words: str) -> None:
    """Compare the fields of an error response, and look for `words` in its message."""
    assert 1 <= int(asked.headers["retry-after"]) <= 300
    body = json.loads(asked.body)
    error = body["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message.startswith("server busy, please try again")
    assert all(word in message for word in words)
    if isinstance(error, dict):
        assert expected["error"].items() <= error.items()
        assert {key: value for key, value in expected.items() if key != "error"}.items() <= body.items()


@every_way
async def test_a_full_queue_refuses_in_each_apis_words(queue: Queue, case: Case, stream: bool) -> None:
    queue.answer(case, stream)
    await queue.runs(case, stream=stream)
    for who in ("alice", "alice", "bob", "bob"):
        await queue.waits(case, who, stream=stream)
    refused = await queue.ask(case, "carol", stream=stream).end()
    assert refused.status == (529 if case.path == "/v1/messages" else 503)
    check_refusal(refused, of_path(REFUSALS, case.path), "4 requests are waiting", "GATEWAY_QUEUE")
    entry = line_of(queue.served.process, refused.id)
    assert (entry["outcome"], entry["status"]) == ("rejected", refused.status)
    assert not queue.reached(refused)


@every_way
async def test_a_callers_full_share_of_the_queue_refuses_only_its_own_requests(
    queue: Queue, case: Case, stream: bool
) -> None:
    queue.answer(case, stream)
    await queue.runs(case, stream=stream)
    for _ in range(3):
        await queue.waits(case, stream=stream)
    refused = await queue.ask(case, stream=stream).end()
    assert refused.status == 429
    words = "3 of your requests are waiting", "GATEWAY_QUEUE_PER_CALLER"
    check_refusal(refused, of_path(CALLERS_REFUSALS, case.path), *words)
    await queue.waits(case, "bob", stream=stream)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Requests are refused after half a second, before a stream would begin."""
    patience = {"GATEWAY_QUEUE_TIMEOUT": "0.5", "GATEWAY_EARLY_COMMIT": "5"}
    with served(tmp_path_factory.mktemp("impatient"), {**BOUNDS, **patience}) as running:
        yield running


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Requests are refused after a second, when a stream has begun."""
    patience = {"GATEWAY_QUEUE_TIMEOUT": "1"}
    with served(tmp_path_factory.mktemp("committed"), {**BOUNDS, **patience}) as running:
        yield running


@every_way
async def test_a_wait_that_is_too_long_is_refused(impatient: Served, case: Case, stream: bool) -> None:
    async with impatient.queue() as queue:
        queue.answer(case, stream)
        await queue.runs(case, stream=stream)
        refused = await queue.ask(case, "bob", stream=stream).end()
        assert refused.status == (529 if case.path == "/v1/messages" else 503)
        expected = json.loads(
            json.dumps(of_path(REFUSALS, case.path)).replace('"overloaded"', '"queue_timeout"')
        )
        check_refusal(refused, expected, "no slot became free within 0.5 s", "GATEWAY_QUEUE_TIMEOUT")
        assert not queue.reached(refused)
        assert (await queue.turns())["waiting"] == []


@every_api
async def test_a_wait_that_is_too_long_ends_a_stream_that_has_begun(committed: Served, case: Case) -> None:
    async with committed.queue() as queue:
        queue.answer(case)
        await queue.runs(case)
        late = await queue.ask(case, "bob").end()
        assert late.status == 200
        assert case.terminals(late.body) == 1
        assert case.tells_an_error(late.body)
        assert b"no slot became free within 1 s" in late.body


@every_way
async def test_a_client_that_leaves_the_queue_frees_its_place_and_never_reaches_upstream(
    queue: Queue, case: Case, stream: bool
) -> None:
    queue.answer(case, stream)
    holder = await queue.runs(case, stream=stream)
    leaves = await queue.waits(case, stream=stream)
    stays = await queue.waits(case, stream=stream)
    await leaves.leave()
    await queue.until_gone(leaves)
    (waiting,) = (await queue.turns())["waiting"]
    assert (waiting["request_id"], waiting["position"], waiting["of"]) == (stays.id, 1, 1)
    await holder.leave()
    await until(lambda: queue.reached(stays), "the other one has the slot")
    queue.fake.go_on()
    await stays.end()
    assert not queue.reached(leaves)
    entry = line_of(queue.served.process, leaves.id)
    assert (entry["outcome"], entry["status"]) == ("client_gone", 499)


async def test_a_client_that_leaves_through_nginx_frees_its_place_too(queue: Queue, edge: str) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    leaves = await queue.waits(CHAT, url=edge)
    await leaves.leave()
    await queue.until_gone(leaves)


@pytest.fixture(scope="module")
def edge(gateway: Served) -> Iterator[str]:
    port = int(gateway.url.rpartition(":")[2])
    with nginx(port, settings={**LIMITS, **PROMPT}) as (_, url):
        yield url


async def test_a_caller_sees_its_own_requests_and_an_admin_all_of_them(queue: Queue) -> None:
    queue.answer(CHAT)
    running = await queue.runs(CHAT)
    own, others = await queue.waits(CHAT), await queue.waits(CHAT, "bob")
    seen = {who: await queue.turns(who) for who in ("alice", "bob", "carol", "admin")}
    ids = {
        who: [turn["request_id"] for turn in (*lists["running"], *lists["waiting"])]
        for who, lists in seen.items()
    }
    # Bob has not had a turn, so he is next.
    assert ids == {
        "alice": [running.id, own.id],
        "bob": [others.id],
        "carol": [],
        "admin": [running.id, others.id, own.id],
    }
    (runs,), (first, second) = seen["admin"]["running"], seen["admin"]["waiting"]
    assert {"request_id": running.id, "caller": "alice", "model": "m:latest", "output_tokens": 0}.items() <= (
        runs.items()
    )
    assert runs["age_seconds"] >= 0
    assert (first["caller"], first["position"], first["of"]) == ("bob", 1, 2)
    assert (second["caller"], second["position"], second["of"]) == ("alice", 2, 2)
    assert second["eta_seconds"] >= first["eta_seconds"] >= 1
    assert (await queue.http.get("/queue")).status_code == 401


async def test_without_keys_a_caller_is_an_address(tmp_path: Path) -> None:
    with served(tmp_path, BOUNDS, {}) as running:
        async with running.queue() as queue:
            queue.answer(CHAT)
            own = await queue.runs(CHAT)
            elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=running.url, transport=elsewhere) as other:
                assert (await other.get("/queue")).json() == {"running": [], "waiting": []}
                assert (await other.delete(f"/queue/{own.id}")).status_code == 404
            assert [turn["caller"] for turn in (await queue.turns())["running"]] == ["127.0.0.1"]
            assert await queue.stop(own, "anyone") == 204


async def test_only_its_caller_and_admins_can_stop_a_request(queue: Queue) -> None:
    queue.answer(CHAT)
    running = await queue.runs(CHAT)
    waiting = await queue.waits(CHAT)
    for asked in (running, waiting):
        assert await queue.stop(asked, "bob") == 404
    assert await queue.ids("running") == [running.id]
    assert await queue.ids("waiting") == [waiting.id]
    assert await queue.stop(waiting, "admin") == 204
    assert b"stopped by an admin" in (await waiting.end()).body
    assert await queue.stop(running, "alice") == 204
    assert b"stopped by its caller" in (await running.end()).body
    assert await queue.stop(running, "alice") == 404


@every_api
@pytest.mark.parametrize("state", ["running", "waiting"])
async def test_a_stopped_stream_ends_with_the_reason_and_its_slot_is_free(
    queue: Queue, case: Case, state: str
) -> None:
    queue.fake.answer("m", case.answer.parts[0], Do.WAIT, *case.answer.parts[1:], case.answer.last)
    running = await queue.runs(case)
    waiting = await queue.waits(case)
    stopped = running if state == "running" else waiting
    await until(lambda: stopped.status == 200, "the stream has begun")
    assert await queue.stop(stopped, "alice") == 204
    await queue.until_gone(stopped)
    if state == "running":
        await queue.until_state("running", waiting, seconds=1)
        assert next(
            received for received in queue.fake.received if received.headers["x-request-id"] == running.id
        ).gone.wait(1)
    await stopped.end()
    assert case.terminals(stopped.body) == 1
    assert case.tells_an_error(stopped.body)
    assert b"the answer was stopped by its caller" in stopped.body
    entry = line_of(queue.served.process, stopped.id)
    assert (entry["outcome"], entry["status"]) == ("rejected", 200)


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
@pytest.mark.parametrize("state", ["running", "waiting"])
async def test_a_stopped_request_that_does_not_stream_is_410(queue: Queue, case: Case, state: str) -> None:
    queue.answer(case, stream=False)
    running = await queue.runs(case, stream=False)
    waiting = await queue.waits(case, stream=False)
    stopped = running if state == "running" else waiting
    assert await queue.stop(stopped, "alice") == 204
    await stopped.end()
    assert stopped.status == 410
    assert b"the answer was stopped by its caller" in stopped.body
    await queue.until_gone(stopped)


async def test_the_log_has_who_waited_and_how_long(queue: Queue) -> None:
    queue.answer(CHAT)
    holder = await queue.runs(CHAT)
    waiting = await queue.waits(CHAT, "bob")
    await until(lambda: positions(waiting), "it has waited for a while")
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    queue.fake.go_on()
    await waiting.end()
    process = queue.served.process
    wait_until(lambda: waiting.id in process.output, 5, "it is logged")
    first, second = line_of(process, holder.id), line_of(process, waiting.id)
    assert (first["caller"], second["caller"]) == ("alice", "bob")
    assert 0 <= first["queue_seconds"] < 0.1
    assert 0.2 <= second["queue_seconds"] <= second["duration_seconds"]
