"""Every route with every kind of key; the routes come from the table of routes."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile
from gateway.access.roles import RouteClass
from gateway.app import PARTS
from gateway.dialects.api import api_of
from gateway.errors import Unauthorized
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import sent
from tests.integration.programs import gateway
from tests.processes import BIN, Process, wait_until

# Routes that do not go upstream, with their class. None: open to everyone.
OWN: dict[tuple[str, str], RouteClass | None] = {
    ("GET", "/health"): None,
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): "metrics",
    ("GET", "/usage"): "read",
    ("GET", "/docs"): "read",
    ("GET", "/openapi.json"): "read",
}
ROUTES = {(route.method, route.path): route for route in (CHAT_ROUTE, *PASSED_ON)}
GOT = {place: route.kind for place, route in ROUTES.items()} | OWN
# Every GET route has a HEAD for the same roles.
CLASSES = GOT | {("HEAD", path): kind for (method, path), kind in GOT.items() if method == "GET"}
ALLOWED: dict[str, set[RouteClass | None]] = {
    "none": {None},
    "wrong": {None},
    "not a key": {None},
    "expired": {None},
    "user": {None, "inference", "read"},
    "restricted": {None, "inference", "read"},
    "admin": {None, "inference", "read", "admin", "metrics"},  # account and web are switched off
    "metrics": {None, "metrics"},
}
DIGEST = "sha256:" + "0" * 64


@dataclass
class Guarded:
    url: str
    keys: dict[str, str | None]
    folder: Path
    process: Process
    fake: FakeOllama

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def ask(self, method: str, path: str, who: str, body: object = None) -> httpx.Response:
        key = self.keys[who]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # Not through the client's base URL, which would take two leading slashes for a host.
        return self.client.request(method, f"{self.url}{path}", json=body, headers=headers)

    def audited(self) -> list[dict[str, object]]:
        audit = self.folder / "audit"
        return [json.loads(line) for line in audit.read_text().splitlines()] if audit.exists() else []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("access")
    file = KeyFile(folder / "keys")
    restricted = AllowList(("llama3*",))
    wrong = file.create("gone", "admin", EVERY_MODEL, None)
    keys = {
        "none": None,
        "wrong": wrong,
        "not a key": "unused",
        "expired": file.create("expired", "admin", EVERY_MODEL, datetime.now(UTC)),
        "user": file.create("user", "user", EVERY_MODEL, None),
        "restricted": file.create("restricted", "user", restricted, None),
        "restricted admin": file.create("restricted-admin", "admin", restricted, None),
        "admin": file.create("admin", "admin", EVERY_MODEL, None),
        "metrics": file.create("metrics", "metrics", EVERY_MODEL, None),
    }
    file.revoke("gone")
    fake = FakeOllama()
    for model in ("llama3:8b", "secret:latest"):
        fake.answer(model, DONE)
    fake.models = [{"id": "llama3:8b"}, {"id": "hf.co/org/llama3"}, {"id": "secret:latest"}]
    fake.recommendations = [{"model": "llama3:8b"}, {"model": "secret"}, {"model": "secret:latest"}]
    fake.loaded = [{"name": "secret:latest"}, {"name": "llama3:8b"}]
    settings = {
        "GATEWAY_KEYS_FILE": str(folder / "keys"),
        "GATEWAY_AUDIT_FILE": str(folder / "audit"),
        "GATEWAY_PUBLIC_ADDRESS": "0.0.0.0",
        "GATEWAY_WORKERS": "2",
        "GATEWAY_PUSH_REGISTRIES": "registry.ollama.ai",
    }
    with fake.running(), gateway(fake.url, folder, **settings) as (process, url):
        guarded = Guarded(url, keys, folder, process, fake)
        with guarded.client:
            yield guarded


def test_every_route_has_a_class() -> None:
    routes: list[Any] = [route for part in PARTS for route in part.router.routes]
    mounted = {(method, route.path) for route in routes for method in route.methods}
    assert mounted == set(CLASSES)


@pytest.mark.parametrize("who", ALLOWED)
def test_every_role_can_use_only_its_routes(guarded: Guarded, who: str) -> None:
    for (method, path), kind in CLASSES.items():
        there = path.replace("{digest}", DIGEST).replace("{model:path}", "llama3:8b")
        body = {"model": "llama3:8b", "messages": [{"role": "user", "content": "x"}], "source": "llama3:8b"}
        before = len(guarded.fake.received)
        response = guarded.ask(method, there, who, body if method in ("POST", "DELETE") else None)
        case = f"{who}: {method} {path} is {response.status_code}"
        if kind in ALLOWED[who]:
            assert response.status_code not in (401, 403), case
            continue
        is_known = who in ("user", "restricted", "admin", "metrics")
        assert response.status_code == (403 if is_known else 401), case
        assert ("www-authenticate" in response.headers) != is_known, case
        assert len(guarded.fake.received) == before, case
        if method != "HEAD":
            shape = api_of(there).error_body(Unauthorized("x"), "x")
            assert response.json().keys() == shape.keys(), case


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "X-API-KEY"])
def test_a_key_is_accepted_in_each_clients_header(guarded: Guarded, header: str) -> None:
    prefix = "bearer " if header == "Authorization" else ""
    headers = {header: f"{prefix}{guarded.keys['user']}"}
    assert guarded.client.get("/api/version", headers=headers).status_code == 200
    headers[header] += "x"
    assert guarded.client.get("/api/version", headers=headers).status_code == 401
    assert guarded.client.get("/api/version", params={"key": guarded.keys["user"]}).status_code == 401


def test_a_valid_key_counts_next_to_one_for_another_server(guarded: Guarded) -> None:
    user, admin, gone = (str(guarded.keys[who]) for who in ("user", "admin", "wrong"))
    cases: list[tuple[list[tuple[str, str]], int]] = [
        ([("x-api-key", user), ("Authorization", "Bearer sk-ant-somebody-elses")], 200),
        ([("x-api-key", "sk-ant-somebody-elses"), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", user), ("Authorization", "Basic dXNlcjpwYXNz")], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {gone}")], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", user), ("Authorization", "Bearer")], 200),
        ([("Authorization", "Bearer other"), ("Authorization", f"Bearer {user}")], 200),
        ([("x-api-key", "other"), ("x-api-key", user)], 200),
        ([("x-api-key", user), ("Authorization", f"Bearer {admin}")], 400),
        ([("x-api-key", gone), ("Authorization", "Bearer other")], 401),
        ([("x-api-key", ""), ("Authorization", "Bearer")], 401),
    ]
    for headers, status in cases:
        answer = guarded.client.get("/v1/models", headers=headers)
        assert answer.status_code == status, headers
        if status == 400:
            assert "two different keys" in answer.json()["error"]["message"]
    asked = guarded.client.get("/api/version", headers=cases[0][0]).headers["x-request-id"]
    wait_until(lambda: asked in guarded.process.output, 5, "the request is in the log")
    (line,) = (line for line in guarded.process.output.splitlines() if asked in line)
    assert json.loads(line)["key"] == "user"


def test_another_spelling_of_a_path_grants_no_more(guarded: Guarded) -> None:
    before = len(guarded.fake.received)
    for (method, path), kind in CLASSES.items():
        there = path.replace("{digest}", DIGEST).replace("{model:path}", "secret")
        for spelling in (
            f"/{there}",
            f"{there}/",
            f"{there}//",
            there.replace("/", "//"),
            f"/%2f{there[1:]}",
        ):
            if kind is not None:
                assert guarded.ask(method, spelling, "none").status_code == 401, f"{method} {spelling}"
            if kind in ("admin", "account", "metrics"):
                assert guarded.ask(method, spelling, "restricted").status_code == 403, f"{method} {spelling}"
    assert guarded.ask("GET", "/v1/models/secret/", "restricted").status_code == 404
    assert guarded.ask("POST", "//api//show/", "restricted", {"model": "secret"}).status_code == 404
    assert guarded.ask("GET", "/v1//models//hf.co//org//llama3/", "restricted").status_code == 404
    assert len(guarded.fake.received) == before


def test_the_audit_log_has_the_canonical_spelling_of_a_path(guarded: Guarded) -> None:
    asked = guarded.ask("POST", "//api//pull/", "user", {"model": "x"}).headers["x-request-id"]

    def written() -> list[dict[str, object]]:
        return [line for line in guarded.audited() if line["request_id"] == asked]

    wait_until(written, 5, "it is written down")
    assert written()[0]["what"] == "POST /api/pull"


def test_a_request_without_a_valid_key_is_answered_before_its_body_arrives(guarded: Guarded) -> None:
    host, port = guarded.url.removeprefix("http://").split(":")
    for path in ("/chat", "/v1/messages", f"/api/blobs/{DIGEST}"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [
        ("/api/tags", "models", "name"),
        ("/v1/models", "data", "id"),
        ("/v1/models/", "data", "id"),
        ("//v1//models", "data", "id"),
        ("/api%2ftags/", "models", "name"),
        ("/api/experimental/model-recommendations", "recommendations", "model"),
    ],
)
def test_models_that_a_key_may_not_use_are_not_listed(
    guarded: Guarded, path: str, field: str, name: str
) -> None:
    def listed(who: str) -> set[str]:
        return {model[name] for model in guarded.ask("GET", path, who).json()[field]}

    assert listed("restricted") == {"llama3:8b"}
    assert {"llama3:8b", "secret:latest"} <= listed("user")


def test_loaded_models_that_a_key_may_not_use_are_not_shown(guarded: Guarded) -> None:
    running = guarded.ask("GET", "/api/ps", "restricted").json()["models"]
    assert running == [{"name": "llama3:8b"}]


def test_a_model_that_a_key_may_not_use_does_not_exist(guarded: Guarded) -> None:
    """Whether it exists or not: the answers are identical."""
    before = len(guarded.fake.received)
    for (method, path), kind in CLASSES.items():
        if kind not in ("inference", "read", "admin") or (method, path) not in ROUTES or "digest" in path:
            continue
        answers = []
        for model in ("secret", "absent"):
            body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
            if "{model" not in path and method not in ("POST", "DELETE"):
                continue
            if path == "/api/copy":
                body = {"source": model, "destination": "llama3:mine"}
            there = path.replace("{model:path}", model)
            headers = {"Authorization": f"Bearer {guarded.keys['restricted admin']}"}
            content = sent(ROUTES[method, path], body) if "{" not in path else {}
            response = guarded.client.request(method, there, headers=headers, **content)
            assert response.status_code == 404, f"{method} {path}"
            answers.append(response.text.replace(model, "").replace(response.headers["x-request-id"], ""))
        assert len(set(answers)) <= 1
    assert len(guarded.fake.received) == before


def test_models_with_a_slash_are_hidden_too(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/v1/models/hf.co/org/llama3", "user").status_code == 200
    assert guarded.ask("GET", "/v1/models/hf.co/org/llama3", "restricted").status_code == 404
    assert guarded.ask("GET", "/v1/models/hf.co%2Forg%2Fllama3", "restricted").status_code == 404


def test_only_the_body_of_a_request_goes_upstream(guarded: Guarded) -> None:
    headers = {
        "Authorization": f"Bearer {guarded.keys['user']}",
        "X-API-Key": "other",
        "Cookie": "a=b",
        "Origin": "http://x",
        "Referer": "http://x",
        "X-Forwarded-For": "192.0.2.1",
    }
    response = guarded.client.post("/api/generate", json={"model": "llama3:8b"}, headers=headers)
    assert response.status_code == 200
    upstream = guarded.fake.received[-1].headers
    assert not upstream.keys() & {name.lower() for name in headers}
    assert not any(value in "".join(upstream.values()) for value in headers.values())


def test_a_content_type_that_is_not_ascii_goes_upstream_unchanged_and_an_encoding_does_not(
    guarded: Guarded,
) -> None:
    key = f"Bearer {guarded.keys['user']}"
    headers = [
        (b"Authorization", key.encode()),
        (b"Content-Type", b"x/\xe9"),
        (b"Content-Encoding", b"zstd"),
    ]
    answer = guarded.client.post("/api/show", content=b'{"model":"llama3:8b"}', headers=headers)
    assert answer.status_code == 200
    upstream = guarded.fake.received[-1].headers
    assert upstream["content-type"] == "x/\xe9"
    assert "content-encoding" not in upstream


def test_the_log_has_the_keys_name_and_never_a_key(guarded: Guarded) -> None:
    asked = guarded.ask("GET", "/api/version", "restricted").headers["x-request-id"]
    wait_until(lambda: asked in guarded.process.output, 5, "the request is in the log")
    (line,) = (line for line in guarded.process.output.splitlines() if asked in line)
    assert json.loads(line)["key"] == "restricted"
    secrets = [key for key in guarded.keys.values() if key]
    assert not any(key in guarded.process.output for key in secrets if key != "unused")


def test_the_audit_log_has_caller_and_result(guarded: Guarded) -> None:
    asked = [
        guarded.ask("DELETE", "/api/delete", "admin", {"model": "absent"}),
        guarded.ask("POST", "/api/copy", "restricted admin", {"source": "secret", "destination": "x"}),
        guarded.ask("POST", "/api/pull", "user", {"model": "x"}),
    ]
    others = [
        guarded.ask("POST", "/api/show", "admin", {"model": "llama3:8b"}),
        guarded.ask("POST", "/api/me", "none"),  # without a key: in the log, not in the audit
    ]

    def lines() -> list[dict[str, object]]:
        by_id = {line["request_id"]: line for line in guarded.audited()}
        assert not any(other.headers["x-request-id"] in by_id for other in others)
        return [by_id[id] for response in asked if (id := response.headers["x-request-id"]) in by_id]

    wait_until(lambda: len(lines()) == len(asked), 5, "a line for each is there")
    assert [(line["key"], line["what"], line["models"], line["status"]) for line in lines()] == [
        ("admin", "DELETE /api/delete", ["absent"], 404),
        ("restricted-admin", "POST /api/copy", ["secret", "x"], 404),
        ("user", "POST /api/pull", [], 403),
    ]
    assert all(line["client"] == "127.0.0.1" and line["event"] == "audit" for line in lines())


def test_all_workers_apply_a_new_key_within_five_seconds(guarded: Guarded) -> None:
    made = subprocess.run(
        [BIN / "gateway", "keys", "create", "new", "--expires", "1d"],
        env={**os.environ, "GATEWAY_KEYS_FILE": str(guarded.folder / "keys")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}

    def lets_in() -> bool:
        # A connection stays with its worker.
        answers = [httpx.get(f"{guarded.url}/api/version", headers=headers) for _ in range(12)]
        return all(answer.status_code == 200 for answer in answers)

    wait_until(lets_in, 5, "the key lets in")
    assert made.stdout.strip() not in (guarded.folder / "keys").read_text()
    assert "gateway_keys_file_ok 1.0" in guarded.ask("GET", "/metrics", "metrics").text
    assert guarded.ask("GET", "/readyz", "none").json()["access"] == "keys"


def test_an_invalid_key_file_at_the_start_is_logged_as_json(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("nonsense")
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys")}
    with gateway("http://127.0.0.1:9", tmp_path, **settings) as (process, url):
        assert httpx.get(f"{url}/api/version").status_code == 401
    lines = [json.loads(text) for text in process.output.splitlines()]
    told = [line for line in lines if line["event"] == "key_file_invalid"]
    assert told
    assert {line["previous_keys_in_use"] for line in told} == {0}


def test_pages_of_this_machine_may_read_until_there_is_a_key(tmp_path: Path) -> None:
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys"), "GATEWAY_CORS_ORIGINS": "https://*.example.org"}
    preflight = {"Access-Control-Request-Method": "POST"}

    def readers(url: str) -> set[str]:
        origins = (
            "http://localhost:5173",
            "tauri://localhost",
            "https://ui.example.org",
            "https://evil.example",
        )
        answers = [httpx.get(f"{url}/api/version", headers={"Origin": origin}) for origin in origins]
        asked = [httpx.options(f"{url}/chat", headers={"Origin": origin, **preflight}) for origin in origins]
        got = [answer.headers.get("access-control-allow-origin") for answer in answers]
        assert got == [answer.headers.get("access-control-allow-origin") for answer in asked]
        return {origin for origin in got if origin}

    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **settings) as (_, url):
        assert readers(url) == {"http://localhost:5173", "tauri://localhost", "https://ui.example.org"}
        KeyFile(tmp_path / "keys").create("me", "user", EVERY_MODEL, None)
        wait_until(lambda: httpx.get(f"{url}/api/version").status_code == 401, 10, "keys are needed")
        assert readers(url) == {"https://ui.example.org"}


def test_an_impossible_origin_stops_the_start() -> None:
    started = subprocess.run(
        [BIN / "gateway", "serve"],
        env={**os.environ, "GATEWAY_CORS_ORIGINS": "https://ui.example/app"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert started.returncode == 1
    assert "GATEWAY_CORS_ORIGINS: " in started.stderr
    assert "'https://ui.example/app' is not an origin that browsers send: it has a path" in started.stderr


def test_a_refused_account_request_says_what_pushing_needs(tmp_path: Path) -> None:
    """`ollama push` makes this request before it pushes."""
    with FakeOllama().running() as fake:
        for settings in ({}, {"GATEWAY_ADMIN_API": "on"}):
            with gateway(fake.url, tmp_path, **settings) as (_, url):
                for method, path in (
                    ("POST", "/api/me"),
                    ("POST", "/api/signout"),
                    ("DELETE", "/api/user/keys/x"),
                ):
                    answer = httpx.request(method, f"{url}{path}")
                    assert answer.status_code == 403
                    got = re.findall(r"GATEWAY_\w+", answer.json()["error"])
                    assert got[-2:] == ["GATEWAY_ACCOUNT_API", "GATEWAY_PUSH_REGISTRIES"]
                    assert ("GATEWAY_ADMIN_API" in got) is (not settings)
                if settings:
                    pushed = httpx.post(f"{url}/api/push", json={"model": "x"})
                    assert "GATEWAY_PUSH_REGISTRIES" in pushed.json()["error"]
        assert not fake.received


def test_beyond_loopback_the_gateway_does_not_start_without_a_key() -> None:
    started = subprocess.run(
        [BIN / "gateway", "serve"],
        env={**os.environ, "GATEWAY_HOST": "0.0.0.0"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert started.returncode == 1
    assert "make key NAME=" in started.stderr
