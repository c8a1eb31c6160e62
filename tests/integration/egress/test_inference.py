"""No prompt leaves for a cloud, on every route that takes one, unless a setting allows it."""

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
from tests.integration.egress.cloud import CLOUD_HOST, MESSAGES
from tests.integration.programs import gateway

INFERENCE = [route for route in (CHAT_ROUTE, *PASSED_ON) if route.kind == "inference"]
on_every_route = pytest.mark.parametrize("route", INFERENCE, ids=lambda route: route.path)


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
