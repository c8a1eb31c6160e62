"""nginx slows and then refuses requests without a valid key from one address, and no others."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme

from deploy.native.nginx import find_nginx, nginx_command, render_nginx
from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.dialects.api import api_of
from gateway.errors import InvalidKey
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.programs import gateway, nginx
from tests.processes import Process, free_port, listens, wait_until

PATHS = ("/chat", "/api/chat", "/v1/chat/completions", "/v1/messages")
QUESTION = {"model": "good", "messages": [{"role": "user", "content": "hi"}]}
WRONG = {"Authorization": "Bearer sk-sluice-00000000-x"}
BLOB = "/api/blobs/sha256:" + "0" * 64
# The limits in nginx/snippets/failed-tries.conf.
FREE = 6
SLOWED = 10


@dataclass
class Guarded:
    """A gateway that requires a key."""

    url: str
    key: dict[str, str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("tries")
    key = {"x-api-key": KeyFile(folder / "keys").create("someone", "user", EVERY_MODEL, None)}
    fake = FakeOllama()
    fake.answer("good", DONE)
    fake.answer("signed out", b'{"error":"unauthorized"}', status=401)
    settings = {"GATEWAY_KEYS_FILE": str(folder / "keys"), "GATEWAY_CORS_ORIGINS": "http://page"}
    with fake.running(), gateway(fake.url, folder, **settings) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield Guarded(url, key)


@pytest.fixture
def edge(guarded: Guarded) -> Iterator[str]:
    """A new nginx for each test, whose counters are zero."""
    with nginx(guarded.port) as (_, url):
        yield url


@contextmanager
def secure_nginx(gateway_port: int, folder: Path, trusted: ssl.SSLContext) -> Iterator[str]:
    """nginx as in containers with TLS=on; its certificate is added to `trusted`."""
    port = free_port()
    values = {
        "NGINX_LISTEN": f"127.0.0.1:{port}",
        "NGINX_GATEWAY": f"127.0.0.1:{gateway_port}",
        "NGINX_RESOLVER": "127.0.0.1",
        "NGINX_TLS": "on",
        "NGINX_STATUS": "off",
        "NGINX_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "NGINX_PUBLIC_PORT": "443",
    }
    render_nginx(folder / "nginx", values)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    tls = folder / "nginx" / "tls"
    tls.mkdir()
    certificate.private_key_pem.write_to_path(tls / "privkey.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(tls / "fullchain.pem", append=True)
    authority.configure_trust(trusted)
    program, _ = find_nginx()
    process = Process(nginx_command(program, folder / "nginx"), {}, folder / "nginx.log")
    try:
        wait_until(lambda: listens(port), 10, f"nginx listens:\n{process.output}")
        yield f"https://127.0.0.1:{port}"
    finally:
        process.stop()


@pytest.fixture(params=["http", "https"])
async def client(
    request: pytest.FixtureRequest, guarded: Guarded, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    with ExitStack() as running:
        trusted = ssl.create_default_context()
        if request.param == "https":
            url = running.enter_context(secure_nginx(guarded.port, tmp_path, trusted))
        else:
            _, url = running.enter_context(nginx(guarded.port))
        async with httpx.AsyncClient(
            base_url=url, timeout=30, limits=limits, trust_env=False, verify=trusted
        ) as http:
            yield http


async def test_many_attempts_are_slowed_and_refused_but_a_valid_key_is_not(
    client: httpx.AsyncClient, guarded: Guarded
) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()

    async def wrong(path: str) -> tuple[float, httpx.Response]:
        response = await client.post(path, json=QUESTION, headers=WRONG)
        return loop.time() - begin, response

    tries = [asyncio.create_task(wrong(path)) for path in itertools.islice(itertools.cycle(PATHS), 50)]
    while sum(task.done() for task in tries) < 50 - SLOWED:
        await asyncio.wait([task for task in tries if not task.done()], return_when="FIRST_COMPLETED")
    # While some of the attempts wait and all others are refused:
    for path in PATHS:
        good = await client.post(path, json=QUESTION, headers=guarded.key)
        assert good.status_code == 200, good.text
    waiting = [task for task in tries if not task.done()]
    assert waiting, "nothing is slowed"
    answers = [task.result()[1] for task in tries if task.done()]
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) >= FREE
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 50 - FREE - SLOWED - 5, "some have let in others by the time they took"
    for answer in refused:
        path = answer.request.url.path
        assert answer.headers["retry-after"] == "15"
        assert answer.headers["content-type"] == "application/json"
        assert answer.json().keys() == api_of(path).error_body(InvalidKey("x"), "x").keys(), path
    await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
    seconds, slowed = next(task.result() for task in waiting if task.done())
    assert slowed.status_code == 401
    assert seconds > 0.5
    for task in waiting:
        task.cancel()


def test_nginx_answers_a_failed_attempt_as_the_gateway_does(guarded: Guarded, edge: str) -> None:
    got = ("www-authenticate", "content-type", "access-control-allow-origin", "vary", "request-id")
    # No more attempts than are answered immediately.
    for path, headers in [*((path, {}) for path in PATHS), ("/chat", WRONG), ("/v1/messages", WRONG)]:
        sent = {**headers, "Origin": "http://page", "X-Request-Id": "one"}
        answers = [
            httpx.post(f"{url}{path}", json=QUESTION, headers=sent, trust_env=False)
            for url in (guarded.url, edge)
        ]
        assert [answer.status_code for answer in answers] == [401, 401]
        by_gateway, by_nginx = ({name: answer.headers.get(name) for name in got} for answer in answers)
        assert by_gateway == by_nginx
        assert answers[0].json() == answers[1].json()
        assert "x-accel-redirect" not in answers[0].headers, "another proxy has no such place"


def test_a_large_upload_without_a_key_is_refused_before_it_arrives(edge: str) -> None:
    """Also once the address is slowed, with what has arrived of the body unread."""

    host, port = edge.removeprefix("http://").split(":")
    for _ in range(FREE + 1):
        with socket.create_connection((host, int(port)), timeout=10) as upload:
            upload.sendall(
                f"POST {BLOB} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n".encode() + b"x" * 9000
            )
            assert upload.recv(1000).startswith(b"HTTP/1.1 401 ")


def answer_of(client: socket.socket) -> tuple[bytes, bytes]:
    """Status and head of one answer, after reading its body."""
    answer = b""
    while not answer.endswith(b"}"):
        read = client.recv(65536)
        assert read, answer
        answer += read
    return answer[9:12], answer.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "request_",
    [
        f"POST {BLOB} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12",
        "POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 150000\r\n\r\n{",
        "POST /api/chat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["upload", "large", "chunked"],
)
def test_a_client_is_informed_that_the_connection_ends_if_its_body_was_not_read(
    edge: str, request_: str
) -> None:
    """Otherwise its next request on the connection would get a reset. The last attempts are slowed."""
    for _ in range(FREE + 2):
        with socket.create_connection(("127.0.0.1", int(edge.rpartition(":")[2])), timeout=10) as client:
            client.sendall(request_.encode())
            status, head = answer_of(client)
        assert status == b"401"
        assert b"\r\nConnection: close" in head


def test_otherwise_the_connection_remains_usable_even_when_slowed(edge: str) -> None:
    body = b"{}"
    requests = [
        b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
    ]
    with socket.create_connection(("127.0.0.1", int(edge.rpartition(":")[2])), timeout=10) as client:
        for request in requests * (FREE // 2 + 1):
            client.sendall(request)
            assert answer_of(client)[0] == b"401"


def test_a_client_that_reuses_connections_never_gets_a_reset(edge: str) -> None:
    large = {**QUESTION, "padding": "x" * 150_000}
    with httpx.Client(base_url=edge, timeout=30, trust_env=False) as client:
        for _ in range(FREE):
            for question in (large, QUESTION):
                assert client.post("/api/chat", json=question).status_code == 401


def test_upstreams_401_does_not_count_as_a_failed_attempt(edge: str, guarded: Guarded) -> None:
    with httpx.Client(base_url=edge, headers=guarded.key, trust_env=False) as client:
        for _ in range(FREE * 4):
            answer = client.post("/api/chat", json={**QUESTION, "model": "signed out"})
            assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})


async def test_hsts_is_only_sent_with_tls(client: httpx.AsyncClient) -> None:
    got = (await client.get("/healthz")).headers.get("strict-transport-security")
    assert got == ("max-age=31536000" if client.base_url.scheme == "https" else None)


@pytest.mark.parametrize("length", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
def test_a_large_body_is_not_awaited_before_the_key_is_checked(edge: str, length: str) -> None:
    with socket.create_connection(("127.0.0.1", int(edge.rpartition(":")[2])), timeout=10) as client:
        client.sendall(f"POST /chat HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        assert client.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_an_http2_body_of_unknown_length_is_not_awaited_before_the_key_is_checked(
    guarded: Guarded, tmp_path: Path
) -> None:
    trusted = ssl.create_default_context()
    trusted.set_alpn_protocols(["h2"])
    # RFC 7541: POST, https, and names of the static table with their values; RFC 9113: the end of the head,
    # and not of the stream.
    head = b"\x83\x87\x04\x05/chat\x01\x01x"
    request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    request += bytes([0, 0, len(head), 1, 4, 0, 0, 0, 1]) + head
    with secure_nginx(guarded.port, tmp_path, trusted) as url:
        port = int(url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            trusted.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(request)
            answer = b""
            while b"401" not in answer:
                read = client.recv(65536)
                assert read, answer
                answer += read
