"""The gateway and nginx as real processes, for the tests that need one of their own."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest

from deploy.native.nginx import configure_nginx, find_nginx, nginx_command
from deploy.native.stack import Stack
from tests.processes import BIN, Process, free_port, listens, wait_until

SERVE = (str(BIN / "gateway"), "serve")
MAX_BODY = 100_000
LIMITS = {"GATEWAY_MAX_BODY_BYTES": str(MAX_BODY), "GATEWAY_CONNECT_TIMEOUT": "1", "GATEWAY_GRACE": "3"}


@contextmanager
def gateway(upstream: str, folder: Path, **environment: str) -> Iterator[tuple[Process, str]]:
    """Starts a gateway; yields the process and its URL once it is alive."""
    with gateway_as(SERVE, None, upstream, folder, environment) as running:
        yield running


@contextmanager
def gateway_as(
    command: Sequence[str], output: int | None, upstream: str, folder: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Process, str]]:
    """The same with another command, or with `output` instead of a log file."""
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": upstream, **LIMITS, **environment}
    process = Process([*command], settings, folder / f"gateway-{port}.log", output)
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/healthz")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        code = process.stop()
    assert code == 0
    assert "Traceback" not in process.output


@contextmanager
def nginx(
    gateway_port: int,
    *changes: tuple[str, str],
    file: str = "snippets/streaming.conf",
    settings: Mapping[str, str] | None = None,
) -> Iterator[tuple[Process, str]]:
    """The process and its URL, once it listens. `settings` are the gateway's; each of `changes` replaces one
    text in `file` by another.
    """
    edge = Stack("127.0.0.1", free_port(), gateway_port, 0, None)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (settings or {}).items():
            environment.setenv(name, value)
        folder = configure_nginx(edge)
    for text, other in changes:
        assert text in (folder / file).read_text()
        (folder / file).write_text((folder / file).read_text().replace(text, other))
    program, _ = find_nginx()
    process = Process(nginx_command(program, folder), {}, folder / "nginx.log")
    try:
        wait_until(lambda: listens(edge.port), 10, f"nginx listens:\n{process.output}")
        yield process, edge.url
    finally:
        process.stop()


@contextmanager
def nginx_and_gateway(upstream: str, folder: Path, **environment: str) -> Iterator[str]:
    """The URL of an nginx in front of a gateway in front of `upstream`."""
    with gateway(upstream, folder, **environment) as (_, url), nginx(urlsplit(url).port or 0) as (_, edge):
        yield edge


class Logging(Protocol):
    @property
    def output(self) -> str: ...


def line_of(process: Logging, request_id: str) -> dict[str, Any]:
    """The single log line of a request."""

    def found() -> list[dict[str, Any]]:
        entries = [json.loads(text) for text in process.output.splitlines() if text.startswith("{")]
        return [entry for entry in entries if entry.get("request_id") == request_id]

    wait_until(found, 5, f"a line for {request_id}")
    (entry,) = found()
    return entry
