"""What nginx does when the gateway fails or exceeds its timeouts."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from gateway.dialects.api import api_of
from tests.fakes.ollama import Do, FakeOllama, line
from tests.integration.programs import gateway, nginx
from tests.processes import Process, free_port, wait_until

PATHS = ("/chat", "/api/chat", "/v1/chat/completions", "/v1/messages")
# More than all socket buffers on the way can hold.
LARGE = [line("x" * 500_000)] * 100
# nginx's limits are ten seconds above these; where two are added up, 12 s in total.
SHORT = {
    f"GATEWAY_{name}_TIMEOUT": "0.5"
    for name in ("REQUEST", "SEND", "QUEUE", "LOAD", "FIRST_BYTE", "IDLE", "MANAGE")
}
BURST = 1000


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    """A fake Ollama, in place of the gateway or behind it."""
    with FakeOllama().running() as server:
        server.answer("silent", Do.HANG)
        server.answer("dropped", Do.DROP)
        server.answer("large", *LARGE)
        yield server


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def question(model: str, padding: int = 0) -> dict[str, str]:
    return {"model": model, "padding": "x" * padding}


def assert_error(answer: httpx.Response, status: int, type_: str, code: str) -> None:
    """Checks that the answer is one of nginx's own errors, in the requested API's shape."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert "not running" not in answer.text
    got = answer.json()["error"]
    match api_of(answer.request.url.path).name:
        case "ollama":
            assert isinstance(got, str)
        case "anthropic":
            assert got["type"] == type_
        case _:
            assert (got["type"], got["code"]) == (type_, code)


@pytest.mark.parametrize("padding", [0, 200_000], ids=["small", "large"])
@pytest.mark.parametrize("path", PATHS)
def test_a_missing_gateway_is_reported_as_unreachable(path: str, padding: int) -> None:
    with nginx(free_port()) as (_, url):
        answer = httpx.post(f"{url}{path}", json=question("m", padding))
    assert_error(answer, 502, "api_error", "gateway_unreachable")
    assert answer.headers["retry-after"] == "5"


def test_a_gateway_that_accepts_no_connection_is_reported_as_unreachable() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            taken = stack.enter_context(socket.socket())
            taken.setblocking(False)
            taken.connect_ex(listener.getsockname())
        _, url = stack.enter_context(nginx(listener.getsockname()[1]))
        assert_error(httpx.get(f"{url}/chat", timeout=30), 502, "api_error", "gateway_unreachable")


@pytest.mark.parametrize("padding", [0, 200_000], ids=["small", "large"])
@pytest.mark.parametrize("path", PATHS)
def test_a_gateway_that_closes_the_connection_is_not_reported_as_unreachable(
    fake: FakeOllama, path: str, padding: int
) -> None:
    with nginx(port_of(fake.url)) as (_, url):
        answer = httpx.post(f"{url}{path}", json=question("dropped", padding))
    assert_error(answer, 502, "api_error", "gateway_failed")


@pytest.fixture(scope="module")
def impatient(fake: FakeOllama) -> Iterator[str]:
    short = ("proxy_read_timeout 3610s;", "proxy_read_timeout 1s;")
    with nginx(port_of(fake.url), short, file="conf.d/gateway.conf") as (_, url):
        yield url


@pytest.mark.parametrize("padding", [0, 200_000], ids=["small", "large"])
@pytest.mark.parametrize("path", PATHS)
def test_a_silent_gateway_is_a_timeout(impatient: str, path: str, padding: int) -> None:
    answer = httpx.post(f"{impatient}{path}", json=question("silent", padding), timeout=30)
    assert_error(answer, 504, "api_error" if path.startswith("/v1/") else "timeout_error", "gateway_timeout")


def test_a_request_that_a_gateway_has_seen_is_not_retried(impatient: str, fake: FakeOllama) -> None:
    for model in ("silent", "dropped"):
        before = len(fake.received)
        httpx.post(f"{impatient}/chat", json=question(model), timeout=30)
        assert len(fake.received) == before + 1


def until_closed(client: socket.socket) -> float:
    """The seconds until the connection was closed."""
    begin = time.monotonic()
    client.settimeout(60)
    with suppress(ConnectionError):
        while client.recv(65536):
            pass
    return time.monotonic() - begin


def sends_half_a_head(client: socket.socket) -> float:
    client.sendall(b"POST /chat HTTP/1.1\r\nHost:")
    return until_closed(client)


def sends_half_a_body(client: socket.socket) -> float:
    client.sendall(b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    return until_closed(client)


def asks_a_silent_gateway(client: socket.socket) -> float:
    body = json.dumps(question("silent")).encode()
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)
    return until_closed(client)


def takes_nothing(client: socket.socket) -> float:
    """Waits until the connection is reset, without reading from it."""
    body = json.dumps(question("large")).encode()
    client.sendall(f"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    begin = time.monotonic()
    wait_until(lambda: client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 60, "the connection is reset")
    return time.monotonic() - begin


def test_a_changed_setting_of_the_gateway_changes_nginxs_limit(fake: FakeOllama) -> None:
    """All limits concurrently, because each takes ten seconds."""
    clients: dict[Callable[[socket.socket], float], int] = {
        sends_half_a_head: 11, sends_half_a_body: 11, takes_nothing: 11, asks_a_silent_gateway: 14
    }  # fmt: skip
    with nginx(port_of(fake.url), settings=SHORT) as (_, url), ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(clients)))
        waiting: dict[str, tuple[Future[float], int]] = {}
        for client, seconds in clients.items():
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(url))))
            waiting[client.__name__] = pool.submit(client, connection), seconds
        took = {name: (future.result(), seconds) for name, (future, seconds) in waiting.items()}
    # The shortest default is 15 s.
    assert [
        name for name, (was, is_to_be) in took.items() if not is_to_be - 0.5 < was < is_to_be + 3
    ] == [], took


def test_the_gateways_limits_apply_before_nginxs(fake: FakeOllama, tmp_path: Path) -> None:
    with (
        gateway(fake.url, tmp_path, **SHORT, GATEWAY_EARLY_COMMIT="0.4") as (_, inside),
        nginx(port_of(inside), settings=SHORT) as (_, url),
    ):
        question = {"model": "silent", "messages": [{"role": "user", "content": "hi"}]}
        got = httpx.post(f"{url}/chat", json=question, timeout=30).text
        assert json.loads(got.rpartition("data: ")[2])["error"]["code"] == "upstream_timeout"
        with socket.create_connection(("127.0.0.1", port_of(url)), timeout=30) as client:
            # A body that nginx does not buffer.
            client.sendall(b"POST /chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
            assert b'"code": "request_timeout"' in client.recv(65536)


@contextmanager
def busy(process: Process) -> Iterator[None]:
    """Stops nginx's workers for the duration of the block."""
    children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
    workers = [int(pid) for pid in children.read_text().split()]
    assert workers
    try:
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        stats = [Path(f"/proc/{worker}/stat") for worker in workers]
        wait_until(lambda: all(") T " in stat.read_text() for stat in stats), 5, "the workers stand still")
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def waiting_at(port: int) -> int:
    """The number of connections to `port` that wait to be accepted."""
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, queues, *_ = row.split()
        if state == "0A" and local.endswith(f":{port:04X}"):
            return int(queues.partition(":")[2], 16)
    return 0


def test_no_connection_of_a_burst_is_lost_while_the_workers_are_busy(fake: FakeOllama) -> None:
    with nginx(port_of(fake.url)) as (process, url), ExitStack() as stack:
        port = port_of(url)
        wait_until(lambda: waiting_at(port) == 0, 5, "the connection that looked for nginx is accepted")
        clients = [stack.enter_context(socket.socket()) for _ in range(BURST)]
        with busy(process):
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            # A connection that is dropped is retried in vain. net.core.somaxconn must allow for this backlog.
            wait_until(lambda: waiting_at(port) == BURST, 10, f"{BURST} wait to be accepted")
        for client in clients:
            client.settimeout(30)
            client.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(client.recv(1000).startswith(b"HTTP/1.1 200 ") for client in clients)
