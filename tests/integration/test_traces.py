"""The spans of requests, as a collector receives them."""

import json
import socket
import time
from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from gateway.settings import load_settings
from gateway.telemetry import tracing
from tests.fakes.collector import Collector, Span
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import gateway, line_of
from tests.processes import Process, wait_until

SECRET = "planted-secret"
CLIENT = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line(SECRET), line("b"), DONE)
        server.answer("cut", line("a"), Do.DROP)
        yield server


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector().running() as server:
        yield server


@pytest.fixture(scope="module")
def running(
    fake: FakeOllama, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Process, str]]:
    """A gateway that exports its spans every few milliseconds."""
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    with gateway(fake.url, tmp_path_factory.mktemp("traced"), **environment) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield process, url


def ask(url: str, model: str, trace_id: str, flags: str = "01", path: str = "/chat") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": SECRET}]}
    headers = {
        "traceparent": f"00-{trace_id}-{CLIENT}-{flags}",
        "Authorization": f"Bearer {SECRET}",
        "X-Request-Id": f"of-{trace_id}",
    }
    return httpx.post(f"{url}{path}?key={SECRET}", json=body, headers=headers, timeout=30)


def collected(collector: Collector, trace_id: str, server_span: str) -> dict[str, Span]:
    """The spans of a trace by name. A request's own span is exported last, because it ends last."""
    wait_until(lambda: server_span in collector.of(trace_id), 10, f"{server_span} of {trace_id}")
    return collector.of(trace_id)


def test_a_request_becomes_a_span_with_its_parts(
    running: tuple[Process, str], collector: Collector, fake: FakeOllama
) -> None:
    trace = "1" * 32
    before = time.time_ns()
    ask(running[1], "good", trace)
    spans = collected(collector, trace, "POST /chat")
    assert set(spans) == {"POST /chat", "upstream wait", "stream"}
    request, wait, stream = spans["POST /chat"], spans["upstream wait"], spans["stream"]
    assert request.parent_id == CLIENT
    assert {wait.parent_id, stream.parent_id} == {request.span_id}
    assert before <= request.start <= wait.start < wait.end == stream.start < stream.end <= request.end
    assert request.end <= time.time_ns()
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/chat",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "good",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 3,
        "gateway.request_id": f"of-{trace}",
        "gateway.outcome": "ok",
        "gateway.backend": "ollama",
        "gateway.chunks": 3,
    }
    assert not request.failed
    assert request.resource["service.name"] == "sluice-gateway"
    assert collector.paths == {"/v1/traces"}
    # The model server gets the gateway's span as parent, not the client's.
    assert fake.received[-1].headers["traceparent"] == f"00-{trace}-{request.span_id}-01"


def test_a_stream_that_breaks_off_is_a_failed_span(
    running: tuple[Process, str], collector: Collector
) -> None:
    ask(running[1], "cut", "2" * 32, path="/api/chat")
    request = collected(collector, "2" * 32, "POST /api/chat")["POST /api/chat"]
    assert request.failed
    assert request.attributes["error.type"] == "truncated"


def test_a_refused_request_has_no_child_spans_and_is_not_a_failure(
    running: tuple[Process, str], collector: Collector
) -> None:
    assert ask(running[1], "", "3" * 32).status_code == 400
    spans = collected(collector, "3" * 32, "POST /chat")
    assert set(spans) == {"POST /chat"}
    assert not spans["POST /chat"].failed
    assert spans["POST /chat"].attributes["error.type"] == "rejected"


def test_a_trace_that_the_client_does_not_sample_is_not_exported(
    running: tuple[Process, str], collector: Collector, fake: FakeOllama
) -> None:
    ask(running[1], "good", "4" * 32, flags="00")
    assert fake.received[-1].headers["traceparent"].endswith("-00")
    ask(running[1], "good", "5" * 32)
    collected(collector, "5" * 32, "POST /chat")
    assert not collector.of("4" * 32)


def test_a_request_without_a_context_begins_a_trace_which_its_log_line_names(
    running: tuple[Process, str], collector: Collector, fake: FakeOllama
) -> None:
    body = {"model": "good", "messages": [{"role": "user", "content": SECRET}]}
    httpx.post(f"{running[1]}/chat", json=body, headers={"X-Request-Id": "begins"})
    trace = fake.received[-1].headers["traceparent"].split("-")[1]
    assert collected(collector, trace, "POST /chat")["POST /chat"].parent_id == ""
    entry = line_of(running[0], "begins")
    assert entry["trace_id"] == trace


def test_a_failing_collector_delays_no_request_and_is_logged_once(
    running: tuple[Process, str], collector: Collector
) -> None:
    collector.status = 400
    try:
        for number in range(len(collector.bodies), len(collector.bodies) + 3):
            assert ask(running[1], "good", "6" * 32).status_code == 200
            wait_until(partial(collector.has, number + 1), 10, "another batch")
    finally:
        collector.status = 200
    ask(running[1], "good", "7" * 32)
    collected(collector, "7" * 32, "POST /chat")
    complaints = [entry for entry in log_lines(running[0]) if "export" in entry["event"]]
    assert len(complaints) == 1
    assert complaints[0]["level"] == "error"


def test_probes_are_not_traced_and_secrets_never_are(
    running: tuple[Process, str], collector: Collector
) -> None:
    httpx.get(f"{running[1]}/readyz", headers={"traceparent": f"00-{'8' * 32}-{CLIENT}-01"})
    ask(running[1], "good", "9" * 32)
    collected(collector, "9" * 32, "POST /chat")
    assert not collector.of("8" * 32)
    assert SECRET not in "".join(collector.bodies)


async def test_pending_spans_are_exported_at_the_end(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    async with tracing.tracing(load_settings()) as tracer:
        span = tracer.start_span("waits")
        span.end()
    (exported,) = collector.of(f"{span.get_span_context().trace_id:032x}").values()
    assert exported.resource["service.name"] == "mine"


async def test_a_collector_that_does_not_answer_does_not_delay_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        async with tracing.tracing(load_settings()) as tracer:
            tracer.start_span("waits").end()
            begun = time.monotonic()
        assert time.monotonic() - begun < 5


def log_lines(process: Process) -> list[dict[str, str]]:
    return [json.loads(text) for text in process.output.splitlines()]
