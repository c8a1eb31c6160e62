"""`make run` and `make demo` with faulty outputs."""

import signal
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.native_run.runs import RUN, nobody_listens, settings, url
from tests.integration.stacks import ports
from tests.outputs import OUTPUTS
from tests.processes import Process

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def answers_all(environment: Mapping[str, str], count: int) -> None:
    """Sends more requests than any pipe has room for in log lines."""
    with httpx.Client(base_url=url(environment), timeout=20) as client:
        for _ in range(count):
            assert client.post("/chat", json=QUESTION).status_code == 200
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_stack_runs_and_stops_with_a_faulty_output(
    fake: FakeOllama, tmp_path: Path, output: str, stop: signal.Signals
) -> None:
    environment = settings(fake)
    with OUTPUTS[output]() as descriptor:
        process = Process(RUN, environment, tmp_path / "log", descriptor)
        try:
            process.wait_ready(f"{url(environment)}/healthz")
            answers_all(environment, 500)
            process.popen.send_signal(stop)
            assert process.popen.wait(30) == 0
            assert nobody_listens(environment)
        finally:
            process.stop()


def test_it_runs_without_standard_streams(fake: FakeOllama, tmp_path: Path) -> None:
    environment = settings(fake)
    closed = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *RUN]
    process = Process(closed, environment, tmp_path / "log")
    try:
        process.wait_ready(f"{url(environment)}/healthz")
        answers_all(environment, 20)
    finally:
        assert process.stop() == 0


@pytest.mark.parametrize("output", ["its reader is gone", "its disk is full"])
def test_the_demo_finishes_with_a_faulty_output(tmp_path: Path, output: str) -> None:
    with OUTPUTS[output]() as descriptor:
        process = Process([*RUN[:-1], "demo"], ports(), tmp_path / "log", descriptor)
        assert process.popen.wait(90) == 0
