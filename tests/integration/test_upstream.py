"""How the gateway sends requests to the model server: credentials, timeouts and retries."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, Raw, line
from tests.integration.programs import gateway
from tests.processes import wait_until

SECRET = "s3cret-pass"
IMPATIENT = {
    "GATEWAY_ADMIN_API": "on",
    "GATEWAY_EARLY_COMMIT": "0.1",
    "GATEWAY_HEARTBEAT": "0.1",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "0.3",
    "GATEWAY_IDLE_TIMEOUT": "0.3",
}


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line("a"), DONE)
        yield server


def test_the_password_of_an_address_goes_with_every_request_and_into_no_log(
    fake: FakeOllama, tmp_path: Path
) -> None:
    address = fake.url.replace("http://", f"http://user:{SECRET}@")
    with gateway(address, tmp_path, GATEWAY_ADMIN_API="on") as (process, url):
        process.wait_ready(f"{url}/readyz")
        httpx.post(f"{url}/chat", json={"model": "good"})
        httpx.post(f"{url}/api/delete", json={"model": "good"})
        httpx.get(f"{url}/v1/models/good")
        httpx.get(f"{url}/readyz")
        got = httpx.get(f"{url}/metrics").text
    pair = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert fake.received
    for received in fake.received:
        assert received.headers["authorization"] == f"basic {pair.lower()}"
        assert received.headers["host"] == fake.url.removeprefix("http://")
    assert SECRET not in process.output + got


@pytest.mark.parametrize("path", ["/api/pull", "/api/create", "/api/push"])
def test_managing_a_model_may_be_silent_for_long_while_heartbeats_are_sent(
    path: str, fake: FakeOllama, tmp_path: Path
) -> None:
    verifying = b'{"status":"verifying sha256 digest"}\n'
    fake.answer("m", verifying, 1.5, b'{"status":"success"}\n')
    settings = {**IMPATIENT, "GATEWAY_PUSH_REGISTRIES": "registry.ollama.ai"}
    with gateway(fake.url, tmp_path, **settings) as (_, url):
        answer = httpx.post(f"{url}{path}", json={"model": "m"}, timeout=30)
    assert answer.content.replace(b" ", b"") == verifying.replace(b" ", b"") + b'{"status":"success"}\n'
    assert answer.content.count(b" ") > verifying.count(b" ") + 5  # heartbeats


def test_managing_has_a_separate_limit(fake: FakeOllama, tmp_path: Path) -> None:
    fake.answer("m", b'{"status":"pulling manifest"}\n', Do.HANG)
    with gateway(fake.url, tmp_path, GATEWAY_ADMIN_API="on", GATEWAY_MANAGE_TIMEOUT="0.3") as (_, url):
        answer = httpx.post(f"{url}/api/pull", json={"model": "m"}, timeout=30)
        assert b'{"error": "the model server was silent for too long"}' in answer.content
        fake.answer("slow", 0.6, line("a"), DONE)
        assert httpx.post(f"{url}/chat", json={"model": "slow"}).status_code == 200


RENDERED = (
    b'{"model":"m","created_at":"2026-11-26T00:00:00Z","message":{"role":"","content":""},"done":false}'
)


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_an_answer_that_upstream_declares_as_one_object_passes_unchanged(
    path: str, fake: FakeOllama, tmp_path: Path
) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n"
    fake.answer("m", Raw(head.format(len(RENDERED)).encode() + RENDERED))
    with gateway(fake.url, tmp_path) as (_, url):
        answer = httpx.post(f"{url}{path}", json={"model": "m", "_debug_render_only": True})
        assert (answer.status_code, answer.content) == (200, RENDERED)
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        events = httpx.post(f"{url}/chat", json={"model": "m", "_debug_render_only": True})
        assert events.content == b"id: 1\ndata: %b\n\n" % RENDERED


class Forgetful:
    """A server that answers one request per connection and closes it when the next one arrives."""

    def __init__(self) -> None:
        self.closed = 0
        self.asked: list[bytes] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()
            yield f"http://127.0.0.1:{server.getsockname()[1]}"

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.asked.append(head.split(b"\r\n")[0])
            body = DONE if b"/api/chat" in head else b'{"models":[{"name":"m:latest"}]}'
            kind = b"application/x-ndjson" if body is DONE else b"application/json"
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (kind, len(body), body)
            )
            if connection.recv(65536):  # the next request, to a connection that is about to go
                self.closed += 1


def test_a_connection_that_dies_on_reuse_fails_no_request(tmp_path: Path) -> None:
    server = Forgetful()
    with server.running() as upstream, gateway(upstream, tmp_path) as (process, url):
        process.wait_ready(f"{url}/readyz")
        for _ in range(20):
            answer = httpx.post(f"{url}/chat", json={"model": "m"}, timeout=30)
            assert (answer.status_code, answer.content.count(b'"done":true')) == (200, 1)
            assert httpx.get(f"{url}/readyz").status_code == 200
    assert server.closed >= 10


def test_requests_that_change_models_are_not_retried(fake: FakeOllama, tmp_path: Path) -> None:
    fake.answer("m", Do.DROP)
    with gateway(fake.url, tmp_path, GATEWAY_ADMIN_API="on") as (process, url):
        process.wait_ready(f"{url}/readyz")
        asked: Any = {"source": "good", "destination": "other"}
        httpx.get(f"{url}/api/version")  # keeps a connection
        assert httpx.post(f"{url}/api/pull", json={"model": "m"}).status_code == 502
        assert [received.path for received in fake.received].count("/api/pull") == 1
        assert httpx.post(f"{url}/api/copy", json=asked).status_code == 200
    wait_until(lambda: not fake.answering, 10, "upstream is left")
