"""A gateway without a usable model server, or with a bad setting."""

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.chat.question import question
from tests.integration.programs import gateway
from tests.processes import BIN, Process, free_port, wait_until


def test_an_upstream_that_is_down_is_502_immediately_and_not_ready(tmp_path: Path) -> None:
    with gateway(f"http://127.0.0.1:{free_port()}", tmp_path) as (_, url):
        response = httpx.post(f"{url}/chat", json=question("good"))
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_unreachable"
        assert response.headers["retry-after"] == "5"
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, "the model server is not reachable")


def test_an_upstream_that_accepts_no_connection_is_502_within_the_connect_timeout(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with gateway(f"http://127.0.0.1:{full.getsockname()[1]}", tmp_path) as (_, url):
            started = time.monotonic()
            response = httpx.post(f"{url}/chat", json=question("good"), timeout=30)
            assert response.status_code == 502
            assert 0.9 < time.monotonic() - started < 5
        for connection in waiting:
            connection.close()


def test_an_upstream_that_does_not_speak_http_is_502(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        gateway(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path) as (_, url),
    ):

        def answer_with_nonsense() -> None:
            with suppress(OSError):  # until the server is closed
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

        threading.Thread(target=answer_with_nonsense, daemon=True).start()
        response = httpx.post(f"{url}/chat", json=question("good"), timeout=30)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_error"


def test_readyz_requires_the_default_model(fake: FakeOllama, tmp_path: Path) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_DEFAULT_MODEL="Later") as (process, url):
        wait_until(lambda: "Later" in httpx.get(f"{url}/readyz").text, 5, "/readyz names the model")
        assert httpx.get(f"{url}/readyz").status_code == 503
        fake.answer("later:latest", DONE)
        process.wait_ready(f"{url}/readyz")


def test_a_bad_setting_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    process = Process([str(BIN / "gateway"), "serve"], {"GATEWAY_PORT": "many"}, tmp_path / "log")
    assert process.popen.wait(30) == 1
    (text,) = process.output.splitlines()
    assert text.startswith("gateway: GATEWAY_PORT: ")
