"""A load that fails sends those who wait for it to another server, and nobody else."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, Answer, Do, FakeOllama, Step, line
from tests.faults.failover.pairs import Pair, pair
from tests.integration.apis import CHAT
from tests.integration.scrapes import value
from tests.processes import wait_until

LOADED = Answer([b'{"done":true,"done_reason":"load"}'])
OUT_OF_MEMORY = b'{"error":"model requires more system memory"}'


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Pair]:
    """With one slot each; the second one has the model in memory and answers when it may go on."""
    with (
        FakeOllama().running() as first,
        FakeOllama().running() as second,
        pair(tmp_path, first, second, GATEWAY_SLOTS="1") as two,
    ):
        first.answer("m", line(), DONE)
        second.answer("m", line(), Do.WAIT, DONE)
        second.loaded = [{"name": "m:latest"}]
        two.wait_available("first", "second", model="m")
        wait_until(
            lambda: value(two.url, "gateway_backend_models_loaded", backend="second"), 10, "it is loaded"
        )
        yield two


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def waiting(servers: Pair) -> float:
    return value(servers.url, "gateway_queue_length") or 0


@pytest.mark.parametrize("failure", [(OUT_OF_MEMORY,), (Do.DROP,)], ids=["told", "lost"])
def test_who_came_before_a_failure_and_did_not_wait_for_it_has_the_model_loaded(
    servers: Pair, pool: ThreadPoolExecutor, failure: tuple[Step, ...]
) -> None:
    servers.first.loading = Answer([Do.WAIT, *failure], 500)
    asked: list[Future[httpx.Response]] = []

    def ask(request_id: str) -> None:
        asked.append(pool.submit(servers.ask, CHAT, request_id))

    try:
        ask("held")
        wait_until(lambda: servers.second.received, 10, "the second server answers")
        ask("failing")
        wait_until(lambda: servers.first.loads, 10, "the first server loads")
        ask("later")
        wait_until(lambda: waiting(servers) == 1, 10, "one waits for a slot")
        servers.first.loading = LOADED
        servers.first.go_on()
        assert asked[2].result(timeout=10).status_code == 200
    finally:
        servers.first.go_on()
        servers.second.go_on()
    assert [CHAT.terminals(one.result().content) for one in asked] == [1, 1, 1]
    backends = [servers.log_of(name)["backend"] for name in ("held", "failing", "later")]
    assert backends == ["second", "second", "first"]
    assert len(servers.first.loads) == 2


def test_loads_that_fail_again_and_again_keep_requests_away(servers: Pair, pool: ThreadPoolExecutor) -> None:
    servers.first.loading = Answer([OUT_OF_MEMORY], 500)
    try:
        asked = [pool.submit(servers.ask, CHAT, f"asked-{number}") for number in range(5)]
        wait_until(
            lambda: value(servers.url, "gateway_backend_available", backend="first") == 0,
            20,
            "the first server is not asked any more",
        )
        assert len(servers.first.loads) >= 3
    finally:
        servers.second.go_on()
    assert [CHAT.terminals(one.result().content) for one in asked] == [1] * 5
