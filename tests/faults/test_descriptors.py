"""What the gateway does without free file descriptors, and in a burst of connections."""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import gateway
from tests.processes import Process, wait_until

BODY = json.dumps({"model": "hangs", "messages": []}).encode()
STREAMS, BURST = 100, 1000
REQUEST = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line("a"), DONE)
        server.answer("hangs", line("a"), Do.HANG)
        yield server


def worker_of(process: Process) -> int:
    master = process.popen.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return int(worker)


@contextmanager
def at_most(worker: int, more: int) -> Iterator[None]:
    """Limits the worker to `more` descriptors beyond those that are open now."""
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir(f"/proc/{worker}/fd")))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (highest + 1 + more, limits[1]))
    yield
    resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


def test_the_descriptor_limit_is_raised_to_the_hard_limit(fake: FakeOllama, tmp_path: Path) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (process, _):
        soft, hard = resource.prlimit(worker_of(process), resource.RLIMIT_NOFILE)
        assert soft == min(hard, 1024 * 1024) or soft == hard


def test_a_low_descriptor_limit_is_logged_at_the_start(
    fake: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", partial(subprocess.Popen, preexec_fn=low_limit))
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (process, _):
        warning = "the limit of 1024 open files and connections"
        wait_until(lambda: warning in process.output, 5, "the log says so")


def low_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))


def test_without_descriptors_requests_get_503_and_the_gateway_recovers(
    fake: FakeOllama, tmp_path: Path
) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (process, url), ExitStack() as streams:
        process.wait_ready(f"{url}/readyz")
        host, port = url.removeprefix("http://").split(":")
        refusals = []
        with at_most(worker_of(process), 40):
            for _ in range(60):
                client = streams.enter_context(socket.create_connection((host, int(port)), 30))
                client.sendall(REQUEST)
                answer = client.recv(65536)
                if not answer.startswith(b"HTTP/1.1 200"):
                    while b"}}" not in answer:
                        answer += client.recv(65536)
                    refusals.append(answer)
        assert 20 <= len(refusals) <= 45
        for refusal in refusals:
            assert refusal.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 5\r\n" in refusal.lower()
            assert b'"code": "overloaded"' in refusal
        streams.close()
        wait_until(lambda: not fake.answering, 10, "the streams have ended")
        for _ in range(20):
            assert httpx.post(f"{url}/chat", json={"model": "good", "messages": []}).status_code == 200
        metrics = httpx.get(f"{url}/metrics").text
        assert float(re.findall(r"^gateway_refused_connections_total (\S+)", metrics, re.M)[0]) > 0


async def test_a_burst_of_a_thousand_connections_is_served_completely(
    fake: FakeOllama, tmp_path: Path
) -> None:
    """While the worker is stopped, the kernel queues the connections; then they are served in order."""
    pauses: list[bytes | float] = [line("x"), 0.01]
    fake.answer("paced", *pauses * 1000, DONE)
    with gateway(fake.url, tmp_path, GATEWAY_CONNECT_TIMEOUT="30", GATEWAY_SLOTS="1000") as (process, url):
        process.wait_ready(f"{url}/readyz")
        host, port = url.removeprefix("http://").split(":")
        worker = worker_of(process)
        request = REQUEST.replace(b'"hangs"', b'"paced"')
        running = [await ask(host, int(port), request) for _ in range(STREAMS)]
        os.kill(worker, signal.SIGSTOP)
        burst = [asyncio.create_task(ask(host, int(port), REQUEST)) for _ in range(BURST)]
        async with asyncio.timeout(60):
            while connected(int(port)) < STREAMS + BURST:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            os.kill(worker, signal.SIGCONT)
            for reader, writer in await asyncio.gather(*burst):
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
                writer.close()
        for _, writer in running:
            writer.close()


async def ask(host: str, port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    return reader, writer


def connected(port: int) -> int:
    """The number of connections to `port` that clients have established."""
    wanted = f":{port:04X} 01"
    return sum(wanted in text for text in Path("/proc/net/tcp").read_text().splitlines())
