"""Clients that stop reading and large uploads: little is buffered."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.every_api.requests import BLOB
from tests.integration.programs import gateway
from tests.processes import Process, wait_until


def memory_of_worker(process: Process) -> int:
    """The peak resident memory of the gateway's worker, in bytes."""
    master = process.popen.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    return int(peak) * 1024


def test_a_client_that_stops_reading_takes_little_memory_and_delays_no_other(
    fake: FakeOllama, tmp_path: Path
) -> None:
    fake.answer("much", *[line("x" * 1000) * 20] * 1000, DONE)
    fake.answer("good", line(), DONE)
    request = {"model": "much", "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(request).encode()
    with ExitStack() as stack:
        process, address = stack.enter_context(
            gateway(fake.url, tmp_path, GATEWAY_SEND_TIMEOUT="3", GATEWAY_SLOTS="40")
        )
        host, port = address.removeprefix("http://").split(":")
        before = memory_of_worker(process)
        head = f"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        stalled = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(40)]
        for connection in stalled:
            connection.sendall(head.encode() + body)
        wait_until(lambda: fake.answering == 40, 30, "all are being answered")
        times = []
        while fake.answering:
            started = time.monotonic()
            good = httpx.post(f"{address}/chat", json={**request, "model": "good"})
            times.append(time.monotonic() - started)
            assert good.content.count(b"data:") == 2
        assert len(times) > 3
        assert max(times) < 3
        assert (memory_of_worker(process) - before) / len(stalled) < 1_000_000


def test_an_upload_is_not_buffered(fake: FakeOllama, tmp_path: Path) -> None:
    size, piece = 400 * 1024 * 1024, b"x" * 1024 * 1024

    def content() -> Iterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    with gateway(fake.url, tmp_path, GATEWAY_ADMIN_API="on") as (process, address):
        before = memory_of_worker(process)
        headers = {"Content-Length": str(size)}
        response = httpx.post(f"{address}/api/blobs/{BLOB}", content=content(), headers=headers, timeout=60)
        assert (response.status_code, response.json()) == (201, {"swallowed": size})
        assert memory_of_worker(process) - before < 30 * 1024 * 1024


def test_a_client_that_disconnects_during_an_upload_closes_the_connection_upstream(
    url: str, fake: FakeOllama
) -> None:
    asked_before = len(fake.received)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /api/blobs/{BLOB} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1000)
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
    assert fake.received[-1].gone.wait(5)
