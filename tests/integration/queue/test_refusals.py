"""What clients of each API see when the queue is full, or the wait too long."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.apis import Case
from tests.integration.programs import line_of
from tests.integration.queue.queues import Asked, Queue, Served, served
from tests.integration.queue.ways import BOUNDS, every_api, every_way

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
    check_refusal(refused, of_path(REFUSALS, case.path), "the queue is full, 4 waiting", "GATEWAY_QUEUE")
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
    words = "your share of the queue is full, 3 waiting", "GATEWAY_QUEUE_PER_CALLER"
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
