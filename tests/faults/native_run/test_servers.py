"""`make run` with several model servers."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.native_run.runs import RUN, UP, running, settings, url
from tests.integration.stacks import ports
from tests.processes import ROOT, Process, free_port, listens, wait_until


def three_ports() -> int:
    """The first of three consecutive ones that are free."""
    while True:
        first = free_port()
        if not any(listens(first + further) for further in (1, 2)):
            return first


def pid(environment: dict[str, str], engine: str) -> int:
    """0 while it does not run."""
    file = ROOT / ".run" / environment["PORT"] / f"{engine}.pid"
    return int(file.read_text() or 0) if file.exists() else 0


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/version", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_an_engine_that_dies_is_started_again_and_the_stack_goes_on(tmp_path: Path) -> None:
    first = three_ports()
    environment = {**ports(), "ENGINE_PORT": str(first), "SERVERS": "3", "GATEWAY_GRACE": "3"}
    with running(environment, tmp_path / "log") as process:
        assert all(answers(first + further) for further in range(3))
        killed = pid(environment, "engine2")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: pid(environment, "engine2") not in (0, killed), 30, "it has a new process")
        wait_until(lambda: answers(first + 1), 30, "it answers again")
        assert httpx.get(f"{url(environment)}/healthz").status_code == 200
        assert "engine2 ended by itself (exit status -9); it is started again" in process.output
        assert "engine3 | " in process.output
        assert process.stop() == 0
    assert not any(listens(first + further) for further in range(3))
    assert not pid(environment, "engine1")


def test_the_port_of_a_further_engine_that_is_in_use_is_named_with_its_setting(tmp_path: Path) -> None:
    with FakeOllama().running() as other:
        taken = int(other.url.rpartition(":")[2])
        environment = {**ports(), "ENGINE_PORT": str(taken - 1), "SERVERS": "3"}
        process = Process(RUN, environment, tmp_path / "log")
        assert process.popen.wait(30) == 1
        assert f"port {taken} on 127.0.0.1 cannot be used" in process.output
        assert "ENGINE_PORT=…" in process.output


@pytest.fixture
def second() -> int:
    """The port of an Ollama that is down."""
    return free_port()


def test_of_several_ollamas_one_that_is_down_is_named_and_the_stack_starts(
    fake: FakeOllama, second: int, tmp_path: Path
) -> None:
    fake.answer("m", b'{"capabilities":["completion"]}')
    servers = f"http://127.0.0.1:{second} name=down, {fake.url}"
    environment = {**settings(fake), "OLLAMA_URL": "", "OLLAMA_URLS": servers}
    with running(environment, tmp_path / "log") as process:
        before, _, after = process.output.partition(UP)
        assert f"OLLAMA_URLS=http://127.0.0.1:{second}: no Ollama answers there" in before
        assert '"model": "m"' in after


def test_several_ollamas_that_are_all_down_are_all_named(second: int, tmp_path: Path) -> None:
    other = free_port()
    servers = f"http://user:secret@127.0.0.1:{second}, http://127.0.0.1:{other}"
    process = Process(RUN, {**ports(), "OLLAMA_URLS": servers}, tmp_path / "log")
    assert process.popen.wait(30) == 1
    assert process.output.count("no Ollama answers there") == 2
    assert "secret" not in process.output
