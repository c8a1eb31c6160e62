"""`make run` and `make demo`, stopped during the start."""

import os
import random
import re
import shlex
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.native_run.runs import RUN, facts, nobody_listens, settings
from tests.integration.stacks import ports
from tests.processes import ROOT, Process, wait_until


def make_run() -> list[str]:
    """The command that `make run` executes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    listed = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    (command,) = [shlex.split(line) for line in listed if line.endswith("deploy.native run")]
    return command


def handles(process: Process, number: signal.Signals) -> bool:
    """Whether the process blocks or handles the signal; before that, the program has not started yet."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Blk|Cgt):\s+(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_at_any_moment_of_the_start_ends_cleanly(
    fake: FakeOllama, tmp_path: Path, number: signal.Signals
) -> None:
    command = make_run()
    for attempt in range(12):
        environment = settings(fake)
        process = Process(command, environment, tmp_path / f"log-{attempt}")
        wait_until(partial(handles, process, number), 10, "the program has started")
        with suppress(subprocess.TimeoutExpired):  # still running: any moment will do
            process.popen.wait(random.uniform(0, 0.15 * attempt))
        process.popen.send_signal(number)
        assert process.popen.wait(30) == 0, process.output
        assert "Traceback" not in process.output
        assert nobody_listens(environment)
        assert not facts(environment).exists()


@pytest.mark.parametrize("command", ["run", "demo"])
@pytest.mark.parametrize("word", ["engine  starting", "gateway starting", "nginx   starting"])
def test_a_stop_while_a_program_starts_leaves_nothing_running(
    tmp_path: Path, word: str, command: str
) -> None:
    environment = ports()
    process = Process([*RUN[:-1], command], environment, tmp_path / "log")
    wait_until(lambda: word in process.output, 60, word)
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(30) == {"run": 0, "demo": 130}[command]
    assert "Traceback" not in process.output
    assert nobody_listens(environment)
