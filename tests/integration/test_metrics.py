"""Scrapes of a gateway with two workers, one of which some tests kill."""

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import Do, FakeOllama, line
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.load import workers
from tests.processes import Process, wait_until

SECOND = 10**9
LOADED = {
    "name": "Good",
    "size": 4000,
    "size_vram": 1000,
    "expires_at": "2026-01-01T00:00:00.123456789+01:00",
}


def measured(load: int) -> bytes:
    durations = {"total_duration": load + 3 * SECOND, "load_duration": load, "prompt_eval_duration": SECOND}
    return line("", done=True, prompt_eval_count=11, eval_count=3, eval_duration=SECOND, **durations)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    server = workers.prepared(FakeOllama())
    server.answer("cold", line(), measured(20 * SECOND))
    server.answer("warm", line(), measured(SECOND // 50))
    server.answer("hangs", line(), line(), Do.HANG)
    with server.running():
        yield server


@pytest.fixture(scope="module")
def running(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    # While the default model is missing, the backend is polled twice a second.
    settings = {"GATEWAY_WORKERS": "2", "GATEWAY_DEFAULT_MODEL": "never", "GATEWAY_LOG_LEVEL": "error"}
    with gateway(fake.url, tmp_path_factory.mktemp("metrics"), **settings) as (process, url):
        wait_until(lambda: len(workers.workers_of(process)) == 2, 10, "both workers run")
        folder = folder_of(process)
        yield process, url
    assert not folder.exists()


@pytest.fixture
def url(running: tuple[Process, str]) -> str:
    return running[1]


def ask(url: str, model: str, path: str = "/chat") -> httpx.Response:
    question = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(url + path, json=question, timeout=30)


def test_the_last_line_distinguishes_a_cold_start_from_a_warm_one(url: str) -> None:
    name = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    for model in ("cold", "warm"):
        ask(url, model)
        labels = {"gen_ai_operation_name": "chat", "gen_ai_request_model": f"{model}:latest", "load": model}
        wait_until(lambda labels=labels: value(url, name, **labels) == 1, 5, f"a {model} start")  # type: ignore[misc]


def test_times_and_tokens_are_taken_from_the_last_line(url: str) -> None:
    ask(url, "cold", "/api/chat")
    wait_until(lambda: value(url, "gateway_requests_total", route="/api/chat"), 5, "it is counted")
    phases = {
        phase: value(url, "gateway_upstream_phase_seconds_sum", model="cold:latest", phase=phase)
        for phase in ("load", "prompt", "generation", "waiting")
    }
    assert phases["load"] == 20 * (phases["prompt"] or 0)
    assert phases["prompt"] == phases["generation"] == phases["waiting"]
    tokens = {"model": "cold:latest", "source": "reported"}
    assert (value(url, "gateway_tokens_total", type="input", **tokens) or 0) % 11 == 0
    assert (value(url, "gateway_tokens_total", type="output", **tokens) or 0) % 3 == 0


def test_chunks_of_an_abandoned_stream_count_as_tokens(url: str) -> None:
    question = {"model": "hangs", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", f"{url}/chat", json=question) as answer:
        received = b""
        for piece in answer.iter_raw():
            received += piece
            if received.count(b"data:") == 2:
                break
    labels = {"model": "hangs:latest", "type": "output", "source": "counted"}
    wait_until(lambda: value(url, "gateway_tokens_total", **labels) == 2, 5, "two tokens are counted")


def test_requests_without_a_model_are_not_measured_as_answers(url: str) -> None:
    httpx.get(f"{url}/api/version")
    wait_until(lambda: value(url, "gateway_requests_total", route="/api/version"), 5, "it is counted")
    assert 'gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="None' not in (
        httpx.get(f"{url}/metrics").text
    )


def test_an_unloaded_model_disappears_from_the_metrics(url: str, fake: FakeOllama) -> None:
    of_it = {"backend": "ollama", "model": "good:latest"}
    fake.loaded = [LOADED]
    wait_until(lambda: value(url, "gateway_backend_memory_bytes", **of_it) == 4000, 10, "it is seen")
    for _ in range(4):  # whichever worker answers
        wait_until(lambda: value(url, "gateway_backend_gpu_ratio", **of_it) == 0.25, 10, "it is seen")
    fake.loaded = []
    for _ in range(4):
        wait_until(lambda: value(url, "gateway_backend_memory_bytes") is None, 10, "it is gone")
    wait_until(lambda: value(url, "gateway_backend_models_loaded", backend="ollama") == 0, 10, "none is left")
    assert value(url, "gateway_backend_up", backend="ollama") == 1


def folder_of(process: Process) -> Path:
    """The directory in which a gateway's workers keep their counts."""
    (worker, *_) = workers.workers_of(process)
    maps = Path(f"/proc/{worker}/maps").read_text()
    return Path(re.findall(r"(\S+/sluice-metrics-\w+)/", maps)[0])


def test_the_counts_of_several_workers_add_up_also_after_one_is_killed(running: tuple[Process, str]) -> None:
    process, url = running
    before = workers.counted(url)
    tally = asyncio.run(workers.storm(url, process, 300, kills=1))
    wait_until(lambda: not workers.disagreements(tally, workers.counted(url) - before), 10, "they agree")
    assert len(tally.killed) == 1
    places = {re.sub(r".*_(\w+)\.db", r"\1", path.name) for path in folder_of(process).glob("*.db")}
    assert places == {"master", "0", "1"}


def test_the_oldest_answer_of_all_workers_is_reported_until_it_ends(url: str) -> None:
    question = {"model": "hangs", "messages": [{"role": "user", "content": "hi"}]}

    def oldest() -> float:
        return value(url, "gateway_oldest_answer_seconds") or 0

    with httpx.stream("POST", f"{url}/chat", json=question, timeout=30) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        # Whichever worker answers the scrape.
        wait_until(lambda: min(oldest() for _ in range(6)) > 1, 30, "the answer gets older")
        assert oldest() < 60
    wait_until(lambda: max(oldest() for _ in range(6)) == 0, 30, "it has ended")


def test_requests_of_a_killed_worker_are_no_longer_in_flight(
    running: tuple[Process, str],
) -> None:
    process, url = running
    question = {"model": "hangs", "messages": [{"role": "user", "content": "hi"}]}

    def streams() -> float | None:
        return value(url, "gateway_requests_in_flight", answer="stream")

    with httpx.stream("POST", f"{url}/chat", json=question, timeout=30) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        assert streams() == 1
        for worker in workers.workers_of(process):
            os.kill(worker, signal.SIGKILL)
        process.wait_ready(f"{url}/healthz")
        wait_until(lambda: streams() == 0, 10, "nothing is under way")
