"""The metrics of slots and queue are exact, and log lines show who waited."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.integration.engines import MODEL as SMALL
from tests.integration.engines import running_engine
from tests.integration.programs import gateway, line_of
from tests.integration.scrapes import value
from tests.load.workers import workers_of
from tests.processes import Process, wait_until

MODEL = "held:latest"
LOADED = {"name": MODEL, "size": 1000, "size_vram": 0, "expires_at": "2099-01-01T00:00:00Z"}
# While the default model is missing, the backend is polled twice a second.
POLL_OFTEN = {"GATEWAY_DEFAULT_MODEL": "never", "GATEWAY_EARLY_COMMIT": "0.1"}


class Seen(NamedTuple):
    """What a scrape shows of the one model's slots and of the queue."""

    busy: float
    free: float
    waiting: float


def seen(url: str) -> Seen:
    of_it = {"backend": "ollama", "model": MODEL}
    return Seen(
        value(url, "gateway_slots", **of_it, state="busy") or 0,
        value(url, "gateway_slots", **of_it, state="free") or 0,
        value(url, "gateway_queue_length") or 0,
    )


def counted(url: str, outcome: str) -> float:
    return value(url, "gateway_queue_seconds_count", outcome=outcome) or 0


def refused(url: str, reason: str) -> float | None:
    return value(url, "gateway_refusals_total", reason=reason)


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    """Its one model answers after `go_on`."""
    server = FakeOllama()
    server.answer("held", Do.WAIT, DONE)
    with server.running():
        yield server


@contextmanager
def running(fake: FakeOllama, folder: Path, **settings: str) -> Iterator[tuple[Process, str]]:
    with gateway(fake.url, folder, **POLL_OFTEN, **settings) as (process, url):
        yield process, url
        fake.go_on()


def ask(url: str, request_id: str = "any") -> httpx.Response:
    """A whole answer."""
    headers = {"X-Request-Id": request_id}
    return httpx.post(f"{url}/api/chat", json=question(stream=False), headers=headers, timeout=60)


def question(**more: Any) -> dict[str, Any]:
    return {"model": "held", "messages": [{"role": "user", "content": "hi"}], **more}


@contextmanager
def asking(fake: FakeOllama, url: str, requests: int) -> Iterator[list[Future[httpx.Response]]]:
    """Sends `requests` at the same time; lets the fake answer them all at the end."""
    with ThreadPoolExecutor(requests) as clients:
        try:
            yield [clients.submit(ask, url) for _ in range(requests)]
        finally:
            fake.go_on()


def test_slots_are_busy_while_they_answer_and_free_afterwards(fake: FakeOllama, tmp_path: Path) -> None:
    fake.loaded = [LOADED]
    with running(fake, tmp_path, GATEWAY_SLOTS="2") as (_, url):
        wait_until(lambda: seen(url) == Seen(0, 2, 0), 10, "a model in memory has free slots")
        with asking(fake, url, 1):
            wait_until(lambda: seen(url) == Seen(1, 1, 0), 10, "one slot is taken")
        fake.pause()
        with asking(fake, url, 5) as answers:
            wait_until(lambda: seen(url) == Seen(2, 0, 3), 10, "two run and three wait")
            assert fake.answering == 2
        assert [answer.result().status_code for answer in answers] == [200] * 5
        wait_until(lambda: seen(url) == Seen(0, 2, 0), 10, "all slots are free")
        assert counted(url, "admitted") == 6
        fake.loaded = []
        wait_until(lambda: seen(url) == Seen(0, 0, 0), 10, "an unloaded model has no slots")


def test_a_client_that_leaves_the_queue_is_no_longer_counted(fake: FakeOllama, tmp_path: Path) -> None:
    with running(fake, tmp_path, GATEWAY_SLOTS="1") as (_, url), asking(fake, url, 1):
        wait_until(lambda: seen(url) == Seen(1, 0, 0), 10, "the slot is taken")
        with httpx.stream("POST", f"{url}/chat", json=question(), timeout=30):
            wait_until(lambda: seen(url) == Seen(1, 0, 1), 10, "one waits")
            assert counted(url, "left") == 0
        wait_until(lambda: seen(url) == Seen(1, 0, 0), 10, "nobody waits")
        assert counted(url, "left") == 1
        assert counted(url, "admitted") == 1


@pytest.mark.parametrize(
    ("setting", "reason", "status"),
    [
        ("GATEWAY_QUEUE", "queue_full", 503),
        ("GATEWAY_QUEUE_PER_CALLER", "caller_queue_full", 429),
        ("GATEWAY_QUEUE_TIMEOUT", "queue_timeout", 503),
    ],
)
def test_refusals_are_counted_by_their_reason(
    fake: FakeOllama, tmp_path: Path, setting: str, reason: str, status: int
) -> None:
    limits = {"GATEWAY_SLOTS": "1", setting: "1"}
    with running(fake, tmp_path, **limits) as (process, url):
        assert refused(url, reason) == 0, (
            "Prometheus needs a value before the first refusal to see an increase"
        )
        with asking(fake, url, 3) as answers:
            wait_until(lambda: refused(url, reason), 10, f"one is refused: {reason}")
            statuses = {answer.result().status_code for answer in answers if answer.done()}
            assert statuses <= {status}
        assert sorted({answer.result().status_code for answer in answers}) == [200, status]
        assert counted(url, "refused") == refused(url, reason)
        assert counted(url, "admitted") + counted(url, "refused") == 3
        # What the alert's runbook searches for.
        assert process.output.count(f'"status": {status}') == refused(url, reason)


def test_the_values_of_two_workers_add_up(fake: FakeOllama, tmp_path: Path) -> None:
    fake.loaded = [LOADED]
    settings = {"GATEWAY_WORKERS": "2", "GATEWAY_SLOTS": "4"}
    with running(fake, tmp_path, **settings) as (process, url):
        wait_until(lambda: len(workers_of(process)) == 2, 10, "both workers run")
        wait_until(lambda: seen(url) == Seen(0, 4, 0), 20, "each worker has its share of the slots")
        with asking(fake, url, 10) as answers:

            def adds_up() -> bool:
                busy, free, waiting = seen(url)
                return busy + waiting == 10 and busy + free == 4 and busy == fake.answering

            # A scrape updates only the worker that answers it; the other one is at most five seconds behind.
            wait_until(adds_up, 30, "every request is in a slot or in the queue")
        assert [answer.result().status_code for answer in answers] == [200] * 10
        wait_until(lambda: seen(url) == Seen(0, 4, 0), 20, "all slots are free")
        wait_until(lambda: counted(url, "admitted") == 10, 10, "all ten had a slot")


def test_slots_and_queue_of_a_killed_worker_are_no_longer_counted(fake: FakeOllama, tmp_path: Path) -> None:
    def stream() -> AbstractContextManager[httpx.Response]:
        return httpx.stream("POST", f"{url}/chat", json=question(), timeout=30)

    with running(fake, tmp_path, GATEWAY_SLOTS="1") as (process, url), stream(), stream():
        wait_until(lambda: seen(url) == Seen(1, 0, 1), 10, "one runs and one waits")
        (worker,) = workers_of(process)
        os.kill(worker, signal.SIGKILL)
        process.wait_ready(f"{url}/healthz")
        wait_until(lambda: seen(url) == Seen(0, 0, 0), 10, "nothing runs or waits")


def test_the_log_line_has_the_caller_and_its_wait_if_the_request_took_a_slot(
    fake: FakeOllama, tmp_path: Path
) -> None:
    with running(fake, tmp_path, GATEWAY_SLOTS="1") as (process, url), ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, url, "first")
        wait_until(lambda: seen(url) == Seen(1, 0, 0), 10, "the first one has the slot")
        second = clients.submit(ask, url, "second")
        wait_until(lambda: seen(url) == Seen(1, 0, 1), 10, "the second one waits")
        since = time.monotonic()
        httpx.get(f"{url}/api/tags", headers={"X-Request-Id": "list"})
        waited = time.monotonic() - since
        fake.go_on()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        lines = {name: line_of(process, name) for name in ("first", "second", "list")}
    assert lines["first"]["caller"] == lines["second"]["caller"] == "127.0.0.1"
    assert lines["second"]["duration_seconds"] > lines["second"]["queue_seconds"] > waited
    assert 0 <= lines["first"]["queue_seconds"] < lines["second"]["queue_seconds"]
    assert not {"caller", "queue_seconds"} & lines["list"].keys()


def test_requests_wait_in_the_gateway_and_not_in_the_model_server(tmp_path: Path) -> None:
    with (
        running_engine({"ENGINE_SLOTS": "1"}, tmp_path / "engine.log") as (_, engine),
        gateway(engine, tmp_path) as (process, url),
    ):
        process.wait_ready(f"{url}/readyz")
        body = question(model=SMALL, stream=False, options={"num_predict": 40})
        with ThreadPoolExecutor(4) as clients:
            answers = clients.map(lambda _: httpx.post(f"{url}/api/chat", json=body, timeout=60), range(4))
            assert [answer.status_code for answer in answers] == [200] * 4
        wait_until(lambda: counted(url, "admitted") == 4, 10, "all four had a slot")
        in_queue = value(url, "gateway_queue_seconds_sum", outcome="admitted") or 0
        in_server = value(url, "gateway_upstream_phase_seconds_sum", model=SMALL, phase="waiting")
        assert in_server is not None
        assert in_server < in_queue / 10
