"""Which raw requests are accepted and what reaches upstream, through nginx and at the gateway directly."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import MAX_BODY, gateway, line_of, nginx
from tests.integration.shapes import (
    BODY,
    CHUNKED,
    H2C,
    LARGE_HEADS,
    LENGTH,
    NEXT,
    REFUSED,
    REFUSED_BY_GATEWAY,
    REFUSED_BY_NGINX,
    SEEN_ALIKE,
    SLOW,
    many,
    request,
)
from tests.processes import Process, wait_until

SERVERS = ("nginx", "gateway")
ORIGIN = "https://ui.example"
TE = b"Transfer-Encoding: chunked"
SECONDS = 1
# What says where something is, or what it is made of.
TELLING = re.compile(
    r"nginx/|<html|127\.0\.0\.1|localhost|:\d{4,5}\b|/home|/root|/usr|/tmp|\.py|Traceback|uvicorn|gunicorn"
)


@dataclass
class Edges:
    fake: FakeOllama
    gateway: Process
    nginx: Process
    urls: dict[str, str]
    audit: Path

    def connect(self, server: str) -> socket.socket:
        host, port = self.urls[server].removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def answers(self, server: str, data: bytes) -> list[bytes]:
        """The answers until the connection is closed; with HTTP/0.9, which has no heads, a single one."""
        with self.connect(server) as client:
            with suppress(ConnectionError):
                client.sendall(data)
            received = until_closed(client)
        got = [answer for answer in received.split(b"HTTP/1.1 ") if answer]
        return [answer for answer in got if not answer.startswith(b"100 ")]


def until_closed(client: socket.socket) -> bytes:
    """Everything until the connection ends or its timeout passes."""
    received = b""
    # The server closes with a reset if it has not read everything.
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            received += piece
    return received


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    folder = tmp_path_factory.mktemp("edges")
    settings = {
        "GATEWAY_ADMIN_API": "on",
        "GATEWAY_AUDIT_FILE": str(folder / "audit"),
        "GATEWAY_CORS_ORIGINS": f"{ORIGIN}, https://other.example",
        "GATEWAY_REQUEST_TIMEOUT": str(SECONDS),
    }
    short = (("_timeout 25s;", f"_timeout {SECONDS}s;"),)
    with FakeOllama().running() as fake:
        fake.answer("good", line(), DONE)
        with gateway(fake.url, folder, **settings) as (inside, url):
            inside.wait_ready(f"{url}/readyz")
            with nginx(int(url.rpartition(":")[2]), *short, file="conf.d/gateway.conf") as (edge, outside):
                yield Edges(fake, inside, edge, {"gateway": url, "nginx": outside}, folder / "audit")


@pytest.mark.parametrize(
    ("server", "shapes"),
    [("nginx", {**REFUSED, **REFUSED_BY_NGINX}), ("gateway", {**REFUSED, **REFUSED_BY_GATEWAY})],
    ids=SERVERS,
)
def test_an_ambiguous_request_is_refused(edges: Edges, server: str, shapes: dict[str, bytes]) -> None:
    before = len(edges.fake.received)
    for shape, data in shapes.items():
        got = edges.answers(server, data + NEXT)
        assert got, shape
        assert got[0][:4] in (b"400 ", b"405 ", b'{"er'), shape
        assert b'"error"' in got[0], shape
        # A connection may only be kept if the end of the request is unambiguous.
        assert [answer[:3] for answer in got[1:]] in ([], [b"200"]), shape
        assert len(edges.fake.received) == before, shape


@pytest.mark.parametrize(
    ("server", "shapes"),
    [("nginx", {**SEEN_ALIKE, **REFUSED_BY_GATEWAY}), ("gateway", {**SEEN_ALIKE, **REFUSED_BY_NGINX})],
    ids=SERVERS,
)
def test_an_accepted_request_is_one_request_for_every_server(
    edges: Edges, server: str, shapes: dict[str, bytes]
) -> None:
    for shape, data in shapes.items():
        before = len(edges.fake.received)
        got = edges.answers(server, data + NEXT)
        is_question = b"/chat" in data
        assert got[0][:3] == (b"200" if is_question else b"404"), shape
        assert len(got) <= 2, shape
        bodies = [received.body for received in edges.fake.received[before:]]
        assert bodies == ([BODY] if is_question else []), shape


@pytest.mark.parametrize("server", SERVERS)
def test_only_the_headers_that_describe_the_body_go_upstream(edges: Edges, server: str) -> None:
    private = {
        "Authorization": "Bearer secret",
        "Connection": "keep-alive, X-Named, Upgrade",
        "Cookie": "session=secret",
        "Forwarded": "for=203.0.113.7",
        "Keep-Alive": "timeout=5",
        "Origin": ORIGIN,
        "Proxy-Authorization": "Basic secret",
        "Proxy-Connection": "keep-alive",
        "Referer": "https://ui.example/secret",
        "TE": "trailers",
        "Trailer": "X-Named",
        "Via": "1.1 secret",
        "X-Api-Key": "secret",
        "X-Forwarded-For": "203.0.113.7",
        "X-Named": "secret",
        "X-Real-IP": "203.0.113.7",
    }
    headers = {**private, "Content-Type": "application/json; charset=utf-8"}
    httpx.post(f"{edges.urls[server]}/api/chat", content=BODY, headers=headers).raise_for_status()
    upstream = edges.fake.received[-1].headers
    assert set(upstream) == {
        "accept", "accept-encoding", "content-length", "content-type", "host", "user-agent", "x-request-id"
    }  # fmt: skip
    assert upstream["content-type"] == headers["Content-Type"]
    assert upstream["host"] == edges.fake.url.removeprefix("http://")


@pytest.mark.parametrize("server", SERVERS)
def test_the_body_of_a_get_is_ignored(edges: Edges, server: str) -> None:
    got = edges.answers(server, request(LENGTH, start=b"GET /api/version HTTP/1.1") + NEXT)
    assert [answer[:3] for answer in got] == [b"200", b"200"]
    received = edges.fake.received[-1]
    assert (received.path, received.body) == ("/api/version", b"")
    assert received.headers.get("content-length", "0") == "0"


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/v1/models/go%6fd", "/v1/models/good"),
        ("//api/version", "/api/version"),
        ("/api//version", "/api/version"),
        ("/api/version/", "/api/version"),
        ("/api/version//", "/api/version"),
        ("/api%2fversion", "/api/version"),
        ("/api/version%2f", "/api/version"),
        ("//", "/"),
        ("/v1/models//good/", "/v1/models/good"),
        ("/v1/models/%2fgood", "/v1/models/good"),
        ("/v1/models/..//", None),
        ("/v1//models/../../api/version", None),
        ("//api/blobs//%2e%2e//", None),
        ("/api/version/.", None),
        ("/api/version/..", None),
        ("/api/version%5c", None),
        ("/v1/models/good%3fa%23b", None),
        ("/v1/models/..", None),
        ("/v1/models/%2e%2e", None),
        ("/v1/models/..%2f..%2fapi%2fdelete", None),
        ("/api/blobs/%2e%2e", None),
        ("/api/blobs/..%2fdelete", None),
        ("/api/./version", None),
        ("/chat/../api/version", None),
        ("/API/version", None),
        ("/api/version;x", None),
    ],
)
def test_no_spelling_of_a_path_reaches_another_route(
    edges: Edges, server: str, path: str, upstream: str | None
) -> None:
    method = b"HEAD" if "blobs" in path else b"GET"
    before = len(edges.fake.received)
    got = edges.answers(server, request(start=b"%b %b HTTP/1.1" % (method, path.encode()), body=b"") + NEXT)
    assert [received.path for received in edges.fake.received[before:]] == ([upstream] if upstream else [])
    assert got[0][:3] == (b"200" if upstream else b"404")


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/%6detrics",
        "//metrics",
        "/./metrics",
        "/x/../metrics",
        "/api/blobs/../../metrics",
        "/api/blobs/..%2f..%2fmetrics",
        "/metrics#x",
        "/metrics?x",
        "http://x/metrics",
        "http://x?/metrics",
        "/metrics/",
        "/metrics//",
        "///metrics///",
        "/metrics%2f",
        "/%2fmetrics",
        "%2fmetrics",
        "/metrics/?x",
        "/metrics/.",
        "/metrics/./",
        "/metrics/x/..",
        "/metrics/x/../",
        "/api/blobs/sha256/../../metrics/",
        "/api/blobs/sha256%2f..%2f../..%2fmetrics/",
        "http://x//metrics/",
        "/METRICS",
        "/metrics%23",
        "/metrics%3f",
        "/metrics%20",
        "/unreadable/../metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_spelling_gets_metrics_through_nginx(edges: Edges, method: str, path: str) -> None:
    start = f"{method} {path} HTTP/1.1".encode()
    got = edges.answers("nginx", request(start=start, body=b"") + NEXT)
    assert b"gateway_requests_total" not in got[0]
    is_root = path == "http://x?/metrics"
    assert got[0][:3] in ((b"200",) if is_root else (b"400", b"403", b"404"))


def test_every_spelling_gets_metrics_from_the_gateway_directly(edges: Edges) -> None:
    for path in ("/metrics", "//metrics", "/metrics/", "/metrics%2f"):
        answer = httpx.get(f"{edges.urls['gateway']}{path}")
        assert (answer.status_code, "gateway_requests_total" in answer.text) == (200, True), path


@pytest.mark.parametrize("server", SERVERS)
def test_an_offer_to_upgrade_leaves_the_connection_usable(edges: Edges, server: str) -> None:
    offers = [request(*H2C, LENGTH), request(*H2C, TE, body=CHUNKED)] * 2
    if server == "nginx":  # which ends the connection behind chunks
        offers = [request(*H2C, LENGTH)] * 4
    before = len(edges.fake.received)
    got = edges.answers(server, b"".join(offers) + NEXT)
    assert [answer[:3] for answer in got] == [b"200"] * 5
    assert [received.body for received in edges.fake.received[before:]] == [BODY] * 4


def test_the_body_of_an_offer_may_come_later(edges: Edges) -> None:
    with edges.connect("gateway") as client:
        client.sendall(request(*H2C, b"Expect: 100-continue", LENGTH, body=b""))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY + NEXT)
        got = until_closed(client)
    assert [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert edges.fake.received[-1].body == BODY


def test_an_offer_in_single_bytes_is_ignored_too(edges: Edges) -> None:
    before = len(edges.fake.received)
    with edges.connect("gateway") as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(*H2C, LENGTH) + NEXT:
            client.sendall(bytes([byte]))
        got = until_closed(client)
    assert [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert [received.body for received in edges.fake.received[before:]] == [BODY]


def test_limits_apply_to_an_offer_to_upgrade(edges: Edges) -> None:
    """The limits for head, body and time apply, as to any other request."""
    large = request(*H2C, b"Content-Length: 99999999", body=b"x")
    assert edges.answers("gateway", large)[0].startswith(b"413 ")
    heads = request(*H2C, *many(1000, 2_000), LENGTH)
    with edges.connect("gateway") as client, suppress(ConnectionError):
        client.sendall(heads)
        assert client.recv(65536)[9:12] in (b"431", b"")
    assert edges.answers("gateway", request(*H2C, LENGTH, body=BODY[:5]))[0].startswith(b"408 ")
    bad = request(*H2C, TE, body=b"zz\r\n")
    assert edges.answers("gateway", bad + NEXT)[0].startswith(b"400 ")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("asked", [(), (b"Connection: keep-alive",), H2C], ids=["", "kept alive", "upgrade"])
def test_http_1_0_clients_get_no_chunks_and_a_closed_connection(
    edges: Edges, server: str, asked: tuple[bytes, ...]
) -> None:
    for path in ("/chat", "/api/chat"):
        question = request(*asked, LENGTH, start=f"POST {path} HTTP/1.0".encode())
        (got,) = edges.answers(server, question)
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"200 ")
        assert b"transfer-encoding" not in head.lower()
        assert b"content-length" not in head.lower()
        assert b"connection: close" in head.lower()
        lines = [text.removeprefix(b"data: ") for text in body.splitlines() if b"{" in text]
        assert [json.loads(text)["done"] for text in lines] == [False, True]
    for path in ("/api/version", "/healthz", "/nothing"):
        simple = request(*asked, start=f"GET {path} HTTP/1.0".encode(), body=b"")
        # nginx keeps the connection if requested, because this answer has a length.
        got, *_ = edges.answers(server, simple + request(start=b"GET /healthz HTTP/1.0", body=b""))
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"404 " if path == "/nothing" else b"200 ")
        assert b"transfer-encoding" not in head.lower()
        json.loads(body)


def test_an_http_1_0_client_gets_no_100_continue(edges: Edges) -> None:
    data = request(b"Expect: 100-continue", LENGTH, start=b"POST /chat HTTP/1.0")
    with edges.connect("gateway") as client:
        client.sendall(data)
        assert until_closed(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("case", LARGE_HEADS)
def test_a_head_that_is_too_large_is_refused_before_it_is_complete(edges: Edges, case: str) -> None:
    server, data, status = LARGE_HEADS[case]
    before = len(edges.fake.received)
    received = b""
    with edges.connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            client.sendall(data)
        with suppress(ConnectionError):
            received = client.recv(65536)
    # A reset may overtake the answer while the client is still sending.
    assert received[9:12] == status or (server == "gateway" and not received)
    assert (b'"code":"head_too_large"' in received.replace(b'": "', b'":"')) == (received[9:12] == b"431")
    assert len(edges.fake.received) == before


@pytest.mark.parametrize("server", SERVERS)
def test_a_body_in_chunks_is_limited_too(edges: Edges, server: str) -> None:
    piece = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    limit = MAX_BODY if server == "gateway" else 10 * 1024 * 1024
    body = piece * (limit // 50_000 + 2) + b"0\r\n\r\n"
    (got, *_) = edges.answers(server, request(b"Transfer-Encoding: chunked", body=body))
    assert got.startswith(b"413 ")
    assert b'"body_too_large"' in got


def test_a_request_that_takes_too_long_to_arrive_is_ended(edges: Edges) -> None:
    phases = [(server, phase) for server in SERVERS for phase in SLOW]
    with ExitStack() as stack:
        waiting = {at: stack.enter_context(edges.connect(at[0])) for at in phases}
        for (_, phase), client in waiting.items():
            client.sendall(SLOW[phase])
        got = {at: until_closed(client) for at, client in waiting.items()}
    assert not any(received.path == "/api/chat" and not received.body for received in edges.fake.received)
    for (server, phase), answer in got.items():
        assert b"<html" not in answer, phase
        if server == "gateway":
            says_why = phase not in ("nothing", "empty lines")
            assert (b"HTTP/1.1 408 " in answer) == (b"no more of the request" in answer) == says_why, phase


def test_garbage_after_a_good_request_closes_the_connection_quietly(edges: Edges) -> None:
    for path in (b"/healthz", b"/docs", b"/openapi.json", b"/api/version"):
        good = request(start=b"GET %b HTTP/1.1" % path, body=b"")
        got = edges.answers("gateway", good + b"SMUGGLED / HTTP/1.1\r\n\r\n")
        assert [answer[:3] for answer in got] in ([], [b"200"])
    # The fixture checks that nothing was logged as a defect.


def test_an_empty_line_does_not_keep_a_connection_open(edges: Edges) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(edges.connect(server)) for server in SERVERS]
        for client in waiting:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65536)
            client.sendall(b"\r\n")
        for client in waiting:
            until_closed(client)


def test_a_client_cannot_forge_its_address(edges: Edges) -> None:
    faked = {
        "Forwarded": "for=198.51.100.7;host=evil;proto=https",
        "X-Forwarded-For": "198.51.100.7, 127.0.0.1",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "1",
        "X-Real-IP": "198.51.100.7",
        "X-Client-IP": "198.51.100.7",
        "True-Client-IP": "198.51.100.7",
    }
    answer = httpx.post(f"{edges.urls['nginx']}/api/copy", json={}, headers=faked)
    request_id = answer.headers["x-request-id"]
    for log in (edges.gateway, edges.nginx):
        assert line_of(log, request_id)["client"] == "127.0.0.1"
        assert "198.51.100.7" not in log.output
    wait_until(lambda: request_id in edges.audit.read_text(), 5, "it is in the audit log")
    assert "198.51.100.7" not in edges.audit.read_text()


def test_only_the_pages_of_configured_origins_may_read_answers(edges: Edges) -> None:
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        for path in ("/api/version", "/nothing", "/v1/models"):
            for origin in (ORIGIN, "https://other.example"):
                answer = client.get(path, headers={"Origin": origin})
                assert answer.headers["access-control-allow-origin"] == origin
                assert "access-control-allow-credentials" not in answer.headers
                assert "Origin" in answer.headers["vary"]
            for origin in ("https://evil.example", "null", f"{ORIGIN}.evil.example", "http://ui.example"):
                answer = client.get(path, headers={"Origin": origin})
                assert "access-control-allow-origin" not in answer.headers
                assert "Origin" in answer.headers["vary"]
            # Caches must not serve one origin's answer to another.
            assert "Origin" in client.get(path).headers["vary"]


def test_preflights_tell_browsers_which_requests_are_allowed(edges: Edges) -> None:
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    before = len(edges.fake.received)
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        allowed = client.options("/chat", headers={"Origin": ORIGIN, **wanted})
        refused = client.options("/chat", headers={"Origin": "https://evil.example", **wanted})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert len(edges.fake.received) == before


def test_without_keys_pages_of_other_origins_may_send_no_requests(edges: Edges) -> None:
    def ask(origin: str) -> httpx.Response:
        # As forms and scripts can send it to any server without a preflight.
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        return httpx.post(f"{edges.urls['nginx']}/api/chat", content=BODY, headers=headers)

    before = len(edges.fake.received)
    for origin in ("https://evil.example", "null"):
        refused = ask(origin)
        assert refused.status_code == 403
        assert "GATEWAY_CORS_ORIGINS" in refused.json()["error"]
    assert len(edges.fake.received) == before
    assert [ask(origin).status_code for origin in (ORIGIN, "http://localhost:5173")] == [200, 200]


def test_browsers_treat_every_answer_as_data(edges: Edges) -> None:
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        answers = [
            client.get(path) for path in ("/", "/readyz", "/nothing", "/metrics", "/docs", "/v1/models")
        ]
        answers.append(client.post("/chat", content=BODY))
        answers.append(client.post("/chat", content=b"x" * (11 * 1024 * 1024)))
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert ("script-src" in policy) == (answer.url.path == "/docs")
        assert answer.headers["server"] == "nginx"
        assert "strict-transport-security" not in answer.headers  # without TLS it would mean nothing
        assert len(answer.headers.get_list("x-request-id")) == 1


def test_nginxs_errors_reveal_no_address_or_version(edges: Edges) -> None:
    asked: list[Any] = [data + NEXT for data in (*REFUSED.values(), *REFUSED_BY_NGINX.values())]
    asked.append(request(*many(1, 40_000), LENGTH) + NEXT)
    asked.append(request(start=b"GET /%b HTTP/1.1" % (b"a" * 20_000), body=b""))
    for data in asked:
        for answer in edges.answers("nginx", data)[:1]:
            head, _, content = answer.decode().rpartition("\r\n\r\n")
            assert not TELLING.search(answer.decode()), answer
            assert "error" in json.loads(content.strip() or "{}"), data
            assert not head or "x-request-id" in head.lower(), data
