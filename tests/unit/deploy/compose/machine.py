"""What a made-up machine is made of: its programs, its Docker, and the stack that runs on it."""

import json
import shutil
import socket
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.compose.checks.result import Result
from deploy.compose.docker_cli import Container
from deploy.compose.docker_engine import Docker, probe
from deploy.compose.settings import Settings

Program = Callable[[str, str], Path]
MakeSettings = Callable[..., Settings]

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl command")

PLUGINS = [{"Name": "compose", "Version": "2.26.1-4"}, {"Name": "buildx", "Version": "v0.13.1"}]
INFO: dict[str, Any] = {
    "ServerVersion": "26.1.5+dfsg1",
    "OperatingSystem": "Debian GNU/Linux 12",
    "DockerRootDir": "/",
    "Name": socket.gethostname(),
    "MemTotal": 16 * 2**30,
    "Runtimes": {"runc": {}},
    "SecurityOptions": ["name=seccomp,profile=builtin"],
    "ClientInfo": {"Plugins": PLUGINS},
}


def docker_info(program: Program, **changes: object) -> Docker | None:
    """What is made of a docker command whose `docker info` tells this."""
    program("docker", f"echo '{json.dumps({**INFO, **changes})}'")
    return probe()


def levels_and_text(results: Iterable[Result]) -> tuple[list[str], str]:
    found = list(results)
    return [result.level for result in found], "\n".join(map(str, found))


def container(service: str, state: str = "running", **more: object) -> Container:
    known = {"name": f"sluice-{service}-1", "health": "", "exit_code": 0, "ports": frozenset[int]()}
    return Container(**{**known, "service": service, "state": state, **more})  # type: ignore[arg-type]


class FakeStack(ThreadingHTTPServer):
    """What answers at the public port: a status and JSON for each path, and a record of what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any] | Callable[[], tuple[int, Any]]] = {}
        self.asked: list[tuple[str, Any]] = []
        self.credentials: list[str | None] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: FakeStack

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        self.server.asked.append((self.path, body))
        self.server.credentials.append(self.headers["Authorization"])
        answer = self.server.answers.get(self.path, (404, {}))
        status, content = answer() if callable(answer) else answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def write_ps(folder: Path, *containers: tuple[str, str, dict[str, object]]) -> None:
    """What `docker compose ps` then lists."""
    lines = [
        json.dumps({"Name": f"sluice-{service}-1", "Service": service, "State": state, **more})
        for service, state, more in containers
    ]
    (folder / "ps").write_text("\n".join(lines))
