"""Browsers get the page's files from nginx, and programs get the gateway's answers as ever."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.programs import nginx
from tests.processes import ROOT, Process

PAGE = ROOT / "services/page"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
FILES = sorted(path.name for path in PAGE.iterdir() if path.suffix in TYPES and path.suffix != ".html")


@pytest.mark.parametrize("path", ["/", "/chat", "/?x=1", "/chat?conversation=2"])
@pytest.mark.parametrize(
    "accept", [BROWSER["Accept"], "text/html", "TEXT/HTML", "text/html;level=1", "text/html ,*/*"]
)
def test_who_prefers_html_gets_the_page(client: httpx.Client, path: str, accept: str) -> None:
    answer = client.get(path, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.content == (PAGE / "index.html").read_bytes()
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    "accept", ["*/*", "", "application/json, text/html", "text/html5", "text/plain", "x text/html"]
)
def test_everybody_else_gets_the_model_servers_answer(client: httpx.Client, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.json()) == (200, {"method": "GET", "path": "/"})


def test_without_an_accept_header_the_gateway_answers(edge: tuple[Process, str]) -> None:
    assert b'"path": "/"' in raw(edge[1], "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("path", ["/chat/", "/chat/one", "/healthz", "/docs", "/page", "/page/", "/nothing"])
def test_other_addresses_are_the_gateways_for_browsers_too(
    client: httpx.Client, gateway_url: str, path: str
) -> None:
    got, direct = (httpx.get(f"{url}{path}", headers=BROWSER) for url in (edge_url(client), gateway_url))
    assert got.status_code == direct.status_code
    assert without_ids(got) == without_ids(direct)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/chat", "/page/app.js"])
def test_other_methods_are_the_gateways(
    client: httpx.Client, gateway_url: str, method: str, path: str
) -> None:
    got, direct = (
        httpx.request(method, f"{url}{path}", headers=BROWSER) for url in (edge_url(client), gateway_url)
    )
    assert got.status_code == direct.status_code
    assert without_ids(got) == without_ids(direct)


@pytest.mark.parametrize("name", FILES)
def test_the_pages_files_have_their_types_and_need_not_be_html(client: httpx.Client, name: str) -> None:
    for headers in ({}, BROWSER):
        answer = client.get(f"/page/{name}", headers=headers)
        assert (answer.status_code, answer.content) == (200, (PAGE / name).read_bytes())
        assert answer.headers["content-type"] == f"{TYPES[Path(name).suffix]}; charset=utf-8"
        assert "vary" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/chat", "/page/app.js"])
def test_head_answers_as_get_without_the_body(client: httpx.Client, path: str) -> None:
    head, get = client.head(path, headers=BROWSER), client.get(path, headers=BROWSER)
    assert (head.status_code, head.content) == (200, b"")
    for name in get.headers.keys() - {"date", "x-request-id"}:
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("path", ["/", "/chat", *(f"/page/{name}" for name in FILES)])
def test_every_file_may_use_its_own_server_only_and_has_the_headers_of_every_answer(
    client: httpx.Client, path: str
) -> None:
    headers = client.get(path, headers=BROWSER).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert headers["server"] == "nginx"


@pytest.mark.parametrize("path", ["/", "/chat", "/page/app.js"])
def test_a_browser_keeps_a_copy_and_asks_each_time_whether_it_is_current(
    client: httpx.Client, path: str
) -> None:
    first = client.get(path, headers=BROWSER)
    assert first.headers["cache-control"] == "no-cache"
    again = client.get(path, headers={**BROWSER, "If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"
    assert again.headers["content-security-policy"] == POLICY
    other = client.get(path, headers={**BROWSER, "If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


LITTER = (
    *("README.md", "index.html", "app.js", ".hidden.js", "a.js.map", "x.png", "screenshots/a.svg"),
    *(".git/config.js", "app.js~", "x.html", "../outside.js"),
)


@pytest.fixture(scope="module")
def littered(gateway_url: str) -> Iterator[str]:
    """An edge whose folder of the page has files that must not be served."""
    with TemporaryDirectory() as folder:
        # If root starts nginx, it reads as nobody.
        Path(folder).chmod(0o755)
        for name in LITTER:
            path = Path(folder) / "page" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("planted")
        change = ("root html;", f"root {folder};")
        with nginx(urlsplit(gateway_url).port or 0, change, file="snippets/page.conf") as (_, url):
            yield url


@pytest.mark.parametrize(
    "path",
    [
        "/page/README.md",
        "/page/.hidden.js",
        "/page/.git/config.js",
        "/page/a.js.map",
        "/page/app.js~",
        "/page/x.png",
        "/page/x.html",
        "/page/index.html",
        "/page/screenshots/a.svg",
        "/page/../outside.js",
        "/page/..%2foutside.js",
        "/page/%2e%2e/outside.js",
        "/page/app.js/",
        "/page/app.js%00",
        "/page/app.js%0a",
        "/page/APP.JS",
        "/page/missing.js",
        "/page/page/app.js",
    ],
)
def test_nothing_else_is_served(littered: str, path: str) -> None:
    answer = raw(
        littered, f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    )
    assert re.match(rb"HTTP/1.1 40[04] ", answer), answer
    assert b"planted" not in answer
    assert b'"code":' in answer


def test_the_files_next_to_them_are_served(littered: str) -> None:
    """Proves that the test above does not look into an empty folder."""
    assert httpx.get(f"{littered}/page/app.js").text == "planted"
    assert httpx.get(littered, headers=BROWSER).text == "planted"


def test_the_page_is_served_from_a_folder_that_only_its_owner_may_enter(
    gateway_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a checkout below /root."""
    closed = tmp_path / "closed"
    copytree(PAGE, closed / "page")
    closed.chmod(0o700)
    monkeypatch.setattr("deploy.native.nginx.PAGE", closed / "page" / "index.html")
    with nginx(urlsplit(gateway_url).port or 0) as (_, url):
        assert httpx.get(url, headers=BROWSER).content == (PAGE / "index.html").read_bytes()


def test_the_limits_of_head_and_path_hold_for_the_page_too(client: httpx.Client) -> None:
    assert client.get("/", headers={**BROWSER, "X": "x" * 30_000, "Y": "y" * 3_000}).status_code == 431
    assert client.get(f"/?{'x' * 9_000}", headers=BROWSER).status_code == 414


def test_a_request_of_http_0_9_does_not_get_a_file(edge: tuple[Process, str]) -> None:
    assert b'"code":"bad_request"' in raw(edge[1], "GET /page/app.js\r\n")


def edge_url(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def raw(url: str, request: str) -> bytes:
    """The answer to a request that is sent as it is."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=20) as client:
        client.sendall(request.encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    return answer


def without_ids(answer: httpx.Response) -> str:
    return answer.text.replace(answer.headers["x-request-id"], "")
