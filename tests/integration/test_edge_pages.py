"""Pages may read nginx's own errors if they may read the gateway's answers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.access import pages
from gateway.settings import Settings
from tests.fakes.ollama import Do, FakeOllama
from tests.integration.programs import gateway, nginx
from tests.processes import free_port

PAGE = "https://ui.example"
STRANGER = "https://evil.example"
READABLE = {"x-request-id", "request-id", "retry-after"}

# Requests that nginx refuses: status, request line, and what follows the Origin header.
REFUSED = {
    "two lengths": (400, "POST /chat", "Content-Length: 1\r\nContent-Length: 2"),
    "an unknown transfer coding": (400, "POST /chat", "Transfer-Encoding: x"),
    "TRACE": (405, "TRACE /", "X: x"),
    "metrics": (403, "GET /metrics", "X: x"),
    "the head of metrics": (403, "HEAD /metrics", "X: x"),
    "a large body": (413, "POST /chat", "Content-Length: 900000000"),
    "a long path": (414, f"GET /{'x' * 20_000}", "X: x"),
    "a large head": (431, "GET /chat", f"X: {'x' * 20_000}\r\nY: {'y' * 20_000}"),
    "a gateway that breaks off": (502, "POST /chat", "Content-Length: 19"),
}

# Configured origins, an origin as a browser sends it, and whether its pages may read.
RULE = [
    ("", "https://ui.example", False),
    ("", "null", False),
    ("", "http://localhost", True),
    ("", "http://localhost:3000", True),
    ("", "https://localhost:8443", True),
    ("", "http://127.0.0.1:8080", True),
    ("", "http://0.0.0.0:1", True),
    ("", "http://localhost.evil.example", False),
    ("", "http://127.0.0.1.evil.example:80", False),
    ("", "http://evil.example:3000", False),
    ("", "app://obsidian.md", True),
    ("", "file://", True),
    ("", "tauri://localhost", True),
    ("", "vscode-webview://0a1b2c", True),
    ("", "vscode-file://vscode-app", True),
    ("", "chrome-extension://abcdef", False),
    ("https://ui.example", "https://ui.example", True),
    ("https://ui.example", "HTTPS://UI.EXAMPLE", True),
    ("https://ui.example", "http://ui.example", False),
    ("https://ui.example", "https://ui.example:8443", False),
    ("https://ui.example", "https://uixexample", False),
    ("https://ui.example", "https://ui.example.evil.example", False),
    ("https://ui.example", "https://evil.example/https://ui.example", False),
    ("HTTPS://Ui.Example:443/, http://other.example:80", "https://ui.example", True),
    ("HTTPS://Ui.Example:443/, http://other.example:80", "http://other.example", True),
    ("http://a.example http://b.example", "http://b.example", True),
    ("chrome-extension://*", "chrome-extension://abcdef", True),
    ("chrome-extension://*", "moz-extension://abcdef", False),
    ("chrome-extension://*", "https://chrome-extension", False),
    ("http://10.0.0.1:*", "http://10.0.0.1:3000", True),
    ("http://10.0.0.1:*", "http://10.0.0.1", False),
    ("http://10.0.0.1:*", "http://10x0.0.1:3000", False),
    ("https://*.example.org", "https://ui.example.org", True),
    ("https://*.example.org", "https://a.b.example.org", True),
    ("https://*.example.org", "https://example.org", False),
    ("https://*.example.org", "https://ui.example.org.evil.example", False),
    ("https://*.example.org", "https://evil.example/.example.org", False),
    ("https://*.example.org", "http://ui.example.org", False),
    ("*.example.org", "http://ui.example.org", True),
    ("*", "https://evil.example", True),
    ("*", "null", True),
    ("null", "null", True),
]


@pytest.fixture(scope="module")
def edge() -> Iterator[str]:
    """Behind it everybody is cut off."""
    fake = FakeOllama()
    fake.answer("dropped", Do.DROP)
    settings = {"GATEWAY_CORS_ORIGINS": PAGE}
    with fake.running(), nginx(port_of(fake.url), settings=settings) as (_, url):
        yield url


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def headers_of(url: str, first: str, rest: str, origin: str) -> tuple[int, httpx.Headers]:
    """Status and headers of the answer to a raw request."""
    request = f"{first} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n{rest}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=20) as client:
        client.sendall(request.encode() + b'{"model":"dropped"}')
        answer = b""
        while b"\r\n\r\n" not in answer:
            read = client.recv(65536)
            assert read, answer
            answer += read
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(status.split()[1]), httpx.Headers(dict(line.split(": ", 1) for line in lines))


@pytest.mark.parametrize("refused", REFUSED)
def test_only_allowed_pages_can_read_nginxs_errors(edge: str, refused: str) -> None:
    status, first, rest = REFUSED[refused]
    got, headers = headers_of(edge, first, rest, PAGE)
    assert got == status
    assert headers["access-control-allow-origin"] == PAGE
    assert set(headers["access-control-expose-headers"].lower().split(", ")) == READABLE
    assert headers["vary"] == "Origin"
    got, headers = headers_of(edge, first, rest, STRANGER)
    assert got == status
    assert "access-control-allow-origin" not in headers
    assert headers["vary"] == "Origin"


def test_allowed_pages_can_read_that_the_gateway_is_unreachable() -> None:
    with nginx(free_port(), settings={"GATEWAY_CORS_ORIGINS": PAGE}) as (_, url):
        answer = httpx.get(f"{url}/healthz", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (502, PAGE)


def test_allowed_pages_can_read_that_the_gateway_is_silent() -> None:
    fake = FakeOllama()
    fake.answer("silent", Do.HANG)
    short = ("proxy_read_timeout 3610s;", "proxy_read_timeout 1s;")
    settings = {"GATEWAY_CORS_ORIGINS": PAGE}
    with (
        fake.running(),
        nginx(port_of(fake.url), short, file="conf.d/gateway.conf", settings=settings) as (_, url),
    ):
        answer = httpx.post(f"{url}/chat", json={"model": "silent"}, headers={"Origin": PAGE}, timeout=30)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (504, PAGE)


def may_read(url: str, path: str, origin: str) -> bool:
    allowed = httpx.get(f"{url}{path}", headers={"Origin": origin}).headers.get("access-control-allow-origin")
    return allowed in ("*", origin)


@pytest.mark.parametrize("configured", dict.fromkeys(origins for origins, _, _ in RULE))
def test_nginx_allows_what_the_gateway_allows(configured: str) -> None:
    table = {origin: allowed for origins, origin, allowed in RULE if origins == configured}
    rule = Settings(cors_origins=configured).origins
    assert {origin: pages.may_read(origin, rule, is_open=True) for origin in table} == table, "the gateway"
    with nginx(free_port(), settings={"GATEWAY_CORS_ORIGINS": configured}) as (_, url):
        assert {origin: may_read(url, "/metrics", origin) for origin in table} == table, "nginx"


def test_with_keys_the_gateway_decides_which_pages_can_read_a_401(tmp_path: Path) -> None:
    settings = {"GATEWAY_CORS_ORIGINS": PAGE, "GATEWAY_KEYS_FILE": str(tmp_path / "keys")}
    (tmp_path / "keys").touch()
    origins = (PAGE, STRANGER, "http://localhost:3000")
    with (
        FakeOllama().running() as fake,
        gateway(fake.url, tmp_path, **settings) as (_, inside),
        nginx(port_of(inside), settings=settings) as (_, url),
    ):
        for origin in origins:
            assert may_read(url, "/api/tags", origin) == may_read(inside, "/api/tags", origin)
