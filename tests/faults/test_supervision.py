"""Whatever stops the native stack stops all of it, and it reports why it cannot start."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.stacks import RUN, Running, nobody_listens, ports, question, started
from tests.processes import Process, wait_until


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_stops_everything(tmp_path: Path, signal_number: int) -> None:
    with started(tmp_path) as running:
        running.process.popen.send_signal(signal_number)
        assert running.process.popen.wait(30) == 0
        assert nobody_listens(running)


def test_stopping_lets_a_running_answer_finish(tmp_path: Path) -> None:
    with started(tmp_path, GATEWAY_GRACE="3") as running:
        endless = question("Count.", num_predict=4000)
        with httpx.stream("POST", f"{running.url}/chat", json=endless, timeout=60) as response:
            pieces = response.iter_raw()
            next(pieces)
            running.process.popen.send_signal(signal.SIGINT)
            body = b"".join(pieces)
        assert b'"done":true' in body or b"event: error" in body
        assert running.process.popen.wait(30) == 0


@pytest.mark.parametrize("program", ["engine", "gateway", "nginx"])
def test_when_one_program_dies_the_others_are_stopped(tmp_path: Path, program: str) -> None:
    with started(tmp_path) as running:
        os.kill(child(running, program), signal.SIGKILL)
        assert running.process.popen.wait(30) == 1
        assert f"{program} (exit status -9) ended by itself" in running.process.output
        assert nobody_listens(running)


def test_a_supervisor_that_is_killed_leaves_no_orphan(tmp_path: Path) -> None:
    with started(tmp_path) as running:
        running.process.popen.kill()
        wait_until(lambda: nobody_listens(running), 30, "every program has ended")


def child(running: Running, program: str) -> int:
    """The process id of a program that the supervisor has started."""
    listed = subprocess.run(
        ["/bin/ps", "-o", "pid=,args=", "--ppid", str(running.process.popen.pid)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    marks = {"engine": "bin/engine", "gateway": "gunicorn", "nginx": "nginx: master"}
    (pid,) = [int(text.split()[0]) for text in listed.splitlines() if marks[program] in text]
    return pid


@pytest.mark.parametrize("variable", ["PORT", "GATEWAY_PORT", "ENGINE_PORT"])
def test_a_port_in_use_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = Process([*RUN, "run"], {**ports(), variable: port}, tmp_path / "log")
        assert process.popen.wait(30) == 1
        assert f"port {port} on 127.0.0.1 cannot be used" in process.output
        assert f"{variable}=" in process.output
        assert "Traceback" not in process.output


def test_an_invalid_port_is_named_with_its_variable(tmp_path: Path) -> None:
    process = Process([*RUN, "run"], {"PORT": "eighty"}, tmp_path / "log")
    assert process.popen.wait(30) == 1
    assert process.output.startswith("PORT must be a port")
