"""Many concurrent streams with faults, disconnecting clients, and everything that stops a gateway."""

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import gateway
from tests.load import storm
from tests.processes import Process, wait_until

STREAMS = 50
QUESTION = {"model": "paced", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("paced", line(), Do.WAIT, DONE)
        server.answer("hangs", line(), Do.HANG)
        server.answer("good", line(), DONE)
        yield server


def test_streams_through_every_fault_end_once_each_and_leave_nothing_behind(
    fake: FakeOllama, tmp_path: Path
) -> None:
    storm.prepare(fake)
    with gateway(fake.url, tmp_path, **storm.SETTINGS) as (_, url):
        report = asyncio.run(storm.storm(url, 600, seed=int(time.time()), show_progress=False))
        assert not report.wrong
        assert not report.busy
        wait_until(lambda: not storm.settled(url, fake), 30, "everything is settled")


async def leave_at_random(url: str, number: int) -> None:
    """A client that sends a request and disconnects after a random time."""
    host, port = url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({**QUESTION, "model": "hangs"}).encode()
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nX-Request-Id: {number}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await asyncio.sleep(random.uniform(0, 0.5))
    writer.close()
    LEFT[str(number)] = time.monotonic()


LEFT: dict[str, float] = {}


def test_upstream_notices_every_disconnect_at_once(fake: FakeOllama, tmp_path: Path) -> None:
    async def all_of_them() -> None:
        for start in range(0, 300, 100):
            await asyncio.gather(*(leave_at_random(url, number) for number in range(start, start + 100)))

    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (_, url):
        asyncio.run(all_of_them())
        wait_until(lambda: not fake.answering, 10, "no answer is running upstream")
    reached = [received for received in fake.received if received.gone.is_set()]
    assert len(reached) == len(fake.received) > 150  # some disconnect before their request goes upstream
    assert max(received.gone_at - LEFT[received.headers["x-request-id"]] for received in reached) < 1


def running_streams(url: str, clients: httpx.Client, model: str) -> list[Iterator[bytes]]:
    """Answers whose first token has arrived."""
    streams = []
    for _ in range(STREAMS):
        request = clients.build_request("POST", f"{url}/chat", json={**QUESTION, "model": model})
        pieces = clients.send(request, stream=True).iter_raw()
        assert next(pieces)
        streams.append(pieces)
    return streams


@pytest.fixture
def clients() -> Iterator[httpx.Client]:
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(timeout=30, limits=limits) as http:
        yield http


def worker_of(process: Process) -> int:
    master = process.popen.pid
    return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])


def test_a_reload_under_load_loses_no_stream(fake: FakeOllama, clients: httpx.Client, tmp_path: Path) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_GRACE="20", GATEWAY_SLOTS="1000") as (process, url):
        streams = running_streams(url, clients, "paced")
        old = worker_of(process)
        process.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: "Shutting down" in process.output, 20, "the old worker drains")
        for _ in range(20):
            assert httpx.post(f"{url}/chat", json={**QUESTION, "model": "good"}).content.count(b"data:") == 2
        fake.go_on()
        for pieces in streams:
            assert b'"done":true' in b"".join(pieces)
        wait_until(lambda: not Path(f"/proc/{old}").exists(), 20, "the old worker ends")


def test_a_stop_ends_every_stream_with_a_terminal_event(
    fake: FakeOllama, clients: httpx.Client, tmp_path: Path
) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (process, url):
        streams = running_streams(url, clients, "hangs")
        process.popen.send_signal(signal.SIGTERM)
        for pieces in streams:
            assert b"".join(pieces).count(b"shutting_down") == 1
        assert process.popen.wait(20) == 0
    wait_until(lambda: not fake.answering, 5, "no answer is running upstream")


def test_a_killed_worker_leaves_nothing_upstream_and_is_replaced(
    fake: FakeOllama, clients: httpx.Client, tmp_path: Path
) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_SLOTS="1000") as (process, url):
        streams = running_streams(url, clients, "hangs")
        os.kill(worker_of(process), signal.SIGKILL)
        for pieces in streams:
            # Nothing is left to send a terminal event, but HTTP marks the answer as incomplete.
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                b"".join(pieces)
        wait_until(lambda: not fake.answering, 5, "no answer is running upstream")
        process.wait_ready(f"{url}/readyz")
        assert httpx.post(f"{url}/chat", json={**QUESTION, "model": "good"}).status_code == 200
