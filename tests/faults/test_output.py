"""The gateway keeps serving when its log or its audit file cannot be written."""

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import SERVE, gateway, gateway_as
from tests.outputs import OUTPUTS
from tests.processes import wait_until

# More lines than fit into a pipe and the gateway's buffer.
REQUESTS = 600
PULL = {"model": "m", "stream": False}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line("a"), DONE)
        server.answer("m", b'{"status":"success"}')
        yield server


def question() -> dict[str, Any]:
    return {"model": "good", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("trouble", OUTPUTS)
def test_a_log_that_cannot_be_written_fails_no_request(
    trouble: str, fake: FakeOllama, tmp_path: Path
) -> None:
    with (
        OUTPUTS[trouble]() as output,
        gateway_as(SERVE, output, fake.url, tmp_path, {}) as (process, url),
        httpx.Client(base_url=url, timeout=30) as client,
        ThreadPoolExecutor(20) as threads,
    ):
        answers = list(threads.map(lambda _: client.post("/chat", json=question()), range(REQUESTS)))
        assert [answer.status_code for answer in answers] == [200] * REQUESTS
        assert all(b'"done":true' in answer.content for answer in answers)
        assert client.get("/healthz").status_code == 200
        if trouble != "it is not read":  # these lines still fit into the buffer
            wait_until(lambda: dropped(client), 30, "what was dropped is counted")
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0


def dropped(client: httpx.Client) -> float:
    (count,) = re.findall(r"^gateway_log_lines_dropped_total (\S+)$", client.get("/metrics").text, re.M)
    return float(count)


def test_dropped_lines_are_reported_once_the_log_is_read_again(fake: FakeOllama, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY)
    with gateway_as(SERVE, writing, fake.url, tmp_path, {}) as (_, url), httpx.Client(base_url=url) as client:
        os.close(reading)
        for _ in range(10):
            client.post("/chat", json=question())
        wait_until(lambda: dropped(client), 30, "what was dropped is counted")
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        got = b""

        def reported() -> bool:
            nonlocal got
            try:
                got += os.read(reading, 65536)
            except BlockingIOError:
                client.post("/chat", json=question())
            return b'"request"' in got

        wait_until(reported, 30, "requests are logged again")
    os.close(reading)
    os.close(writing)


def test_managing_models_is_audited_or_refused_with_the_reason(fake: FakeOllama, tmp_path: Path) -> None:
    audit = tmp_path / "there" / "audit"
    audit.parent.mkdir()
    settings = {"GATEWAY_ADMIN_API": "on", "GATEWAY_AUDIT_FILE": str(audit)}
    with gateway(fake.url, tmp_path, **settings) as (_, url), httpx.Client(base_url=url) as client:
        assert client.post("/api/pull", json=PULL).status_code == 200
        wait_until(lambda: audit.exists() and audit.read_text(), 10, "it is audited")
        audit.unlink()
        audit.parent.rmdir()
        assert client.post("/api/pull", json=PULL).status_code == 200
        wait_until(lambda: "No such file" in client.get("/readyz").text, 30, "/readyz says so")
        assert client.get("/readyz").json()["audit"].endswith("cannot be written: No such file or directory")
        wait_until(lambda: client.post("/api/pull", json=PULL).status_code == 503, 30, "pulling is refused")
        refused = client.post("/api/pull", json=PULL)
        assert "GATEWAY_AUDIT_FILE" in refused.json()["error"]
        assert refused.headers["retry-after"]
        assert client.post("/chat", json=question()).status_code == 200
        assert re.search(r"^gateway_audit_lines_waiting [1-9]", client.get("/metrics").text, re.M)
        audit.parent.mkdir()
        wait_until(
            lambda: client.post("/api/pull", json=PULL).status_code == 200, 30, "it can be written again"
        )
        wait_until(lambda: "audit" not in client.get("/readyz").json(), 30, "/readyz reports no problem")
    written = [json.loads(text) for text in audit.read_text().splitlines()]
    assert {line["status"] for line in written} == {200, 503}
    assert len({line["request_id"] for line in written}) == len(written)
