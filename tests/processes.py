"""Real processes on real sockets, for the integration tests."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that no other test gets while this process runs, outside the kernel's ephemeral range."""
    for port in _PORTS:
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0sluice-tests-port-{port}")
        except OSError:
            lock.close()
            continue
        _TAKEN.append(lock)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("there is no free port")


_PORTS = iter(random.sample(range(20_000, 32_000), 12_000))
_TAKEN: list[socket.socket] = []


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Polls `condition` until it is true; fails with `what` when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


class Process:
    """A program with its output in a file, started in its own process group.

    With `output`, a descriptor, the output goes there instead and cannot be read here.
    """

    def __init__(
        self, command: list[str], environment: Mapping[str, str], log: Path, output: int | None = None
    ) -> None:
        self.log = log
        with log.open("wb") as file:
            self.popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=file if output is None else output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_ready(self, url: str, seconds: float = 60) -> None:
        """Waits until `url` answers 200."""

        def ready() -> bool:
            if self.popen.poll() is not None:
                raise AssertionError(
                    f"ended with {self.popen.returncode} before it was ready:\n{self.output}"
                )
            try:
                return httpx.get(url, timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(ready, seconds, f"{url} answers 200; the output so far:\n{self.output}")

    def stop(self, seconds: float = 30) -> int:
        """Terminates the process, waits for it, and kills what is left of its group."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait(5)
