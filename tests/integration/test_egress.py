"""No prompt leaves for a cloud, and models come only from allowed registries, on every route."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.ask.route import Route
from gateway.dialects.api import api_of
from gateway.errors import Forbidden
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import sent
from tests.integration.programs import gateway

CLOUD_HOST = "https://ollama.com:443"
INFERENCE = [route for route in (CHAT_ROUTE, *PASSED_ON) if route.kind == "inference"]
MESSAGES = [{"role": "user", "content": "secret"}]

on_every_route = pytest.mark.parametrize("route", INFERENCE, ids=lambda route: route.path)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        for model in ("own", "harmless", "stub:20b-cloud", "mine:cloud"):
            server.answer(model, DONE)
        server.remote.update({"harmless": CLOUD_HOST, "stub:20b-cloud": CLOUD_HOST})
        server.models = [{"id": model} for model in server.answers]
        yield server


@pytest.fixture(scope="module")
def client(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("egress")
    with (
        gateway(fake.url, folder, GATEWAY_ADMIN_API="on") as (_, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client


def ask(client: httpx.Client, route: Route, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
    content: dict[str, Any] = {"content": body}
    if isinstance(body, dict):
        content = sent(route, {"messages": MESSAGES, **body})
    return client.request(route.method, route.path, headers=headers, **content)


@on_every_route
def test_a_cloud_model_is_refused_in_the_routes_shape(
    route: Route, client: httpx.Client, fake: FakeOllama
) -> None:
    before = len(fake.received)
    shape = api_of(route.path).error_body(Forbidden("x"), "x").keys()
    for model in (
        "gpt-oss:cloud",
        "gpt-oss:20b-cloud",
        "GPT-OSS:20B:Cloud",
        "gpt-oss: cloud ",
        "own:cloud",
        "mine:cloud",
        "registry.ollama.ai/library/stub:20b-cloud",
        "harmless",
        "Harmless:LATEST",
        "library/harmless",
        "harmless:local",
    ):
        answer = ask(client, route, {"model": model})
        assert answer.status_code == 403, model
        assert answer.json().keys() == shape
        assert "GATEWAY_CLOUD_MODELS=on" in answer.text
    assert len(fake.received) == before
    assert ask(client, route, {"model": "own"}).status_code in (200, 502)  # the fake's words fit one API
    assert len(fake.received) == before + 1


@on_every_route
def test_gateway_and_upstream_read_the_same_in_a_body(
    route: Route, client: httpx.Client, fake: FakeOllama
) -> None:
    before = len(fake.received)
    rest = b'"messages":[{"role":"user","content":"secret"}]}'
    for body in (
        b'{"model":"own","model":"harmless",' + rest,
        b'{"model":"harmless","model":"own",' + rest,
        b'{"model":"own","MODEL":"harmless",' + rest,
        b'{"Model":"harmless","model":"own",' + rest,
        b'{"model":"harmless","model":null,' + rest,
        b'{"model":"own","mod\\u0065l":"harmless",' + rest,
        b'{"model":"harmless",' + rest + b'{"model":"own"}',
        b'{"model":"harmless",' + rest + b" and more",
        b'{"x":"\xff","model":"harmless",' + rest,
        b'\xef\xbb\xbf{"model":"harmless",' + rest,
        b'[{"model":"harmless",' + rest + b"]",
    ):
        assert ask(client, route, body).status_code in (400, 403), body
    for encoding in ("zstd", "gzip"):
        body = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00{}   "
        answer = ask(client, route, body, **{"Content-Encoding": encoding})
        assert answer.status_code == 400
    assert len(fake.received) == before


@on_every_route
def test_a_cloud_model_that_is_newer_than_the_last_poll_is_refused(
    route: Route, client: httpx.Client, fake: FakeOllama
) -> None:
    name = f"new{route.path.replace('/', '-')}"
    before = len(fake.received)
    assert ask(client, route, {"model": name}).status_code == 404
    assert len(fake.received) == before  # by the time it was asked, it could have been there
    fake.answer(name, DONE)
    fake.remote[name] = CLOUD_HOST
    assert ask(client, route, {"model": name}).status_code == 403
    assert len(fake.received) == before
    fake.answer(f"{name}-own", DONE)
    assert ask(client, route, {"model": f"{name}-own"}).status_code != 404
    assert len(fake.received) == before + 1


def form(*fields: tuple[str, str | None, str]) -> bytes:
    """A form field: its name, further parameters of its header, and its value."""
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{name}"{more or ""}\r\n\r\n{value}\r\n'
        for name, more, value in fields
    ]
    return "".join([*parts, "--B--\r\n"]).encode()


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (form(("model", None, "harmless")), ""),
        (form(("model", None, "own"), ("model", None, "harmless")), ""),
        (form(("model", None, "harmless"), ("model", None, "own")), ""),
        (form(("model", '; filename=""', "harmless")), ""),
        (form(("model", "; filename*=x", "harmless")), ""),
        (form(("model", '; name="x"; name="model"', "harmless")), ""),
        (form(("x", '; name="model"', "harmless")), ""),
        (form(("MODEL", None, "harmless")), ""),
        (form(("model", None, "gpt-oss:20b-cloud")), ""),
        (form(("model", "\r\nContent-Transfer-Encoding: quoted-printable", "harml=65ss")), ""),
        (form(("file", '; filename="a"\r\nContent-Transfer-Encoding: quoted-printable', "x")), ""),
        (form(("model", "\r\nContent-Type: text/plain; charset=utf-16", "harmless")), ""),
        (form(("model", "\r\nX:\r\n y", "harmless")), ""),
        (form(("x\\", '"; name="model', "harmless")), ""),
        (b"preamble\r\n" + form(("model", None, "harmless")), ""),
        (form(("model", None, "harmless")).replace(b"\r\n", b"\n"), ""),
        (form(("model", None, "own")) + form(("model", None, "harmless")), ""),
        (form(("model", None, "own"))[:-8] + form(("model", None, "harmless")), "model=own"),
        (form(("language", None, "en")), "model=harmless"),
        (form(("file", '; filename="a"', "x"), ("model*", None, "harmless")), ""),
    ],
)
def test_gateway_and_upstream_read_the_same_in_a_form(
    client: httpx.Client, fake: FakeOllama, body: bytes, query: str
) -> None:
    """It is refused, or what goes upstream is harmless."""
    before = len(fake.received)
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = client.post(f"/v1/audio/transcriptions?{query}", content=body, headers=headers)
    received = fake.received[before:]
    assert answer.status_code in (400, 403, 404) or received
    for request in received:
        assert "?" not in request.path
        assert request.body.count(b"boundary") == 0
        assert not re.search(rb'name="model"\r\n\r\nharmless', request.body), request.body
        assert b"Transfer-Encoding" not in request.body


def test_the_boundary_of_a_form_that_goes_upstream_is_the_gateways(
    client: httpx.Client, fake: FakeOllama
) -> None:
    body = form(("model", None, "own"))
    headers = {"Content-Type": "multipart/form-data; boundary=B; boundary*=utf-8''C"}
    client.post("/v1/audio/transcriptions", content=body, headers=headers)
    assert re.fullmatch(
        r"multipart/form-data; boundary=[0-9a-f]{32}", fake.received[-1].headers["content-type"]
    )


def test_details_of_cloud_models_are_not_requested(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    for model in ("harmless", "gpt-oss:cloud"):
        for body in ({"model": model}, {"name": model}, {"model": "own", "name": model}):
            assert client.post("/api/show", json=body).status_code == 403
        assert client.get(f"/v1/models/{model}").status_code == 403
    assert client.get("/v1/models/user/gpt-oss:cloud").status_code == 403
    assert len(fake.received) == before


@pytest.mark.parametrize(
    ("path", "field", "name"), [("/api/tags", "models", "name"), ("/v1/models", "data", "id")]
)
def test_cloud_models_are_not_listed(
    client: httpx.Client, fake: FakeOllama, path: str, field: str, name: str
) -> None:
    new = f"new-in{path.replace('/', '-')}"
    fake.remote[new] = CLOUD_HOST
    fake.models.append({"id": new})
    listed = {model[name] for model in client.get(path).json()[field]}
    assert "own" in listed
    assert not listed & {"harmless", "stub:20b-cloud", "mine:cloud", new}


def test_a_copied_cloud_model_is_still_refused(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    for source in ("harmless", "stub:20b-cloud", "HARMLESS"):
        body = {"source": source, "destination": "own"}
        assert client.post("/api/copy", json=body).status_code == 403
        assert client.post("/api/create", json={"model": "own", "from": source}).status_code == 403
    assert len(fake.received) == before
    assert client.post("/api/copy", json={"source": "own", "destination": "copy"}).status_code == 200


def test_a_model_that_a_pull_replaces_by_a_cloud_model_is_refused(
    client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("replaced", DONE)
    body = {"model": "replaced", "messages": MESSAGES}
    assert client.post("/api/chat", json=body).status_code == 200
    fake.remote["replaced"] = CLOUD_HOST
    client.post("/api/pull", json={"model": "replaced"})
    assert client.post("/api/chat", json=body).status_code == 403


def test_a_model_can_only_be_created_from_one_that_exists_or_may_be_pulled(
    client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("x.example/user/own", DONE)
    allowed: list[dict[str, object]] = [
        {"model": "a", "from": "own"},
        {"model": "a", "from": "x.example/user/own"},
        {"model": "a", "from": "not-there-yet"},
        {"model": "a", "files": {"model.gguf": "sha256:" + "0" * 64}},
    ]
    refused: list[dict[str, object]] = [
        {"model": "a", "from": "x.example/user/other"},
        {"model": "a", "from": "own", "FROM": "x.example/user/other"},
        {"model": "a", "from": "own", "remote_host": "http://x.example"},
        {"name": "a", "path": "/etc/passwd"},
        {"name": "a", "modelfile": "FROM x.example/user/other"},
        {"model": "a", "from": "/etc/passwd"},
    ]
    before = len(fake.received)
    for body in refused:
        assert client.post("/api/create", json=body).status_code in (400, 403), body
    assert len(fake.received) == before
    for number, source in enumerate(allowed, 1):
        client.post("/api/create", json=source)
        assert len(fake.received) == before + number, source


@pytest.mark.parametrize(
    ("path", "body", "setting"),
    [
        ("/api/pull", {"model": "x.example/user/model"}, "GATEWAY_PULL_REGISTRIES"),
        ("/api/pull", {"model": "gpt-oss:20b-cloud"}, "GATEWAY_CLOUD_MODELS"),
        ("/api/pull", {"model": "llama3", "insecure": True}, "GATEWAY_PULL_INSECURE"),
        ("/api/push", {"model": "own"}, "GATEWAY_PUSH_REGISTRIES"),
    ],
)
def test_a_refusal_names_the_setting_that_would_allow_it(
    client: httpx.Client, fake: FakeOllama, path: str, body: dict[str, Any], setting: str
) -> None:
    before = len(fake.received)
    answer = client.post(path, json=body)
    assert answer.status_code == 403
    assert setting in answer.json()["error"]
    assert len(fake.received) == before


def test_a_cloud_model_can_be_deleted(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    client.request("DELETE", "/api/delete", json={"model": "harmless"})
    assert len(fake.received) == before + 1


@pytest.mark.parametrize("path", ["/api/experimental/web_search", "/api/experimental/web_fetch"])
def test_web_requests_of_clients_are_refused(client: httpx.Client, fake: FakeOllama, path: str) -> None:
    before = len(fake.received)
    for spelling in (path, f"/{path}/", path.replace("/", "//")):
        answer = client.post(
            f"{client.base_url}".rstrip("/") + spelling,
            json={"query": "secret", "url": "https://secret.example"},
        )
        assert answer.status_code == 403
        assert "GATEWAY_WEB_SEARCH=on" in answer.json()["error"]
    assert len(fake.received) == before


def test_cloud_models_are_not_recommended(client: httpx.Client, fake: FakeOllama) -> None:
    fake.recommendations = [
        {"model": "own"},
        {"model": "gemma4"},
        {"model": "kimi-k2.6:cloud"},
        {"model": "harmless"},
    ]
    got = client.get("/api/experimental/model-recommendations").json()["recommendations"]
    assert [model["model"] for model in got] == ["own", "gemma4"]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_the_web_is_not_searched(client: httpx.Client, fake: FakeOllama, path: str) -> None:
    before = len(fake.received)
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    answer = client.post(path, json={"model": "own", "messages": MESSAGES, "tools": tools})
    assert answer.status_code == 403
    assert "GATEWAY_WEB_SEARCH=on" in answer.text
    assert len(fake.received) == before


def test_everything_can_be_allowed(fake: FakeOllama, tmp_path: Path) -> None:
    settings = {
        "GATEWAY_ADMIN_API": "on",
        "GATEWAY_CLOUD_MODELS": "on",
        "GATEWAY_WEB_SEARCH": "on",
        "GATEWAY_PULL_REGISTRIES": "x.example",
        "GATEWAY_PULL_INSECURE": "on",
        "GATEWAY_PUSH_REGISTRIES": "registry.ollama.ai",
    }
    search = {"model": "gpt-oss:cloud", "messages": MESSAGES, "tools": [{"type": "web_search"}]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/chat", {"model": "harmless", "messages": MESSAGES}),
        ("/v1/messages", search),
        ("/api/show", {"model": "gpt-oss:cloud"}),
        ("/api/pull", {"model": "x.example/user/model", "insecure": True}),
        ("/api/push", {"model": "own"}),
        ("/api/experimental/web_search", {"query": "x", "model": "gpt-oss:cloud"}),
        ("/api/experimental/web_fetch", {"url": "https://x.example"}),
        ("/api/copy", {"source": "harmless", "destination": "copy"}),
        ("/api/create", {"model": "a", "from": "own", "remote_host": "http://x.example"}),
    ]
    with gateway(fake.url, tmp_path, **settings) as (_, url):
        for path, body in asked:
            before = len(fake.received)
            httpx.post(f"{url}{path}", json=body)
            assert len(fake.received) == before + 1, path
        assert "harmless" in httpx.get(f"{url}/api/tags").text
        fake.recommendations = [{"model": "kimi-k2.6:cloud"}]
        assert "kimi" in httpx.get(f"{url}/api/experimental/model-recommendations").text
