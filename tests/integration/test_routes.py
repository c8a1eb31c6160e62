"""The routes, compared with Ollama's, and the answers for missing paths and models."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.routes.table import PASSED_ON
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import CASES
from tests.integration.programs import gateway


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        yield server


@pytest.fixture(scope="module")
def url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("routes")
    with gateway(fake.url, folder, GATEWAY_ADMIN_API="on") as (_, address):
        yield address


# The routes that server/routes.go of Ollama 0.32.15 registers.
OLLAMAS = """
HEAD /
GET /
HEAD /api/version
GET /api/version
GET /api/status
POST /api/pull
POST /api/push
HEAD /api/tags
GET /api/tags
POST /api/show
DELETE /api/delete
POST /api/me
POST /api/signout
DELETE /api/user/keys/:encodedKey
POST /api/create
POST /api/blobs/:digest
HEAD /api/blobs/:digest
POST /api/copy
POST /api/experimental/web_search
POST /api/experimental/web_fetch
GET /api/experimental/model-recommendations
GET /api/ps
POST /api/generate
POST /api/chat
POST /api/embed
POST /api/embeddings
POST /v1/chat/completions
POST /v1/completions
POST /v1/embeddings
GET /v1/models
GET /v1/models/:model
POST /v1/responses
POST /v1/audio/transcriptions
POST /v1/messages
"""


def test_the_table_has_exactly_ollamas_routes() -> None:
    ollamas = {re.sub(r":\w+", "{}", text) for text in OLLAMAS.strip().splitlines()}
    ours = {re.sub(r"{[^}]+}", "{}", f"{route.method} {route.path}") for route in PASSED_ON}
    assert ours | {text.replace("GET", "HEAD") for text in ours} >= ollamas
    assert ours <= ollamas


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/version",
        "/api/status",
        "/api/tags",
        "/api/ps",
        "/api/experimental/model-recommendations",
        "/v1/models",
        "/v1/models/known",
        "/v1/models/absent",
        "/v1/models/some/name",
        "/health",
        "/healthz",
        "/readyz",
        "/docs",
        "/openapi.json",
    ],
)
def test_head_answers_like_get_without_the_body(path: str, url: str, fake: FakeOllama) -> None:
    fake.answer("known", DONE)
    fake.models = [{"id": "known"}]
    with httpx.Client(base_url=url) as client:
        got = client.get(path)
        seen_for_get = [(seen.method, seen.path) for seen in fake.received[-1:]]
        head = client.head(path)
        assert [(seen.method, seen.path) for seen in fake.received[-1:]] == seen_for_get
        # The connection can be used again, because no body followed the head.
        assert client.get("/healthz").json() == {"status": "alive"}
    assert head.status_code == got.status_code
    assert head.content == b""
    changing = {"date", "x-request-id"}
    compared = [
        {name: value for name, value in answer.headers.items() if name not in changing}
        for answer in (got, head)
    ]
    assert compared[0] == compared[1]
    assert client.is_closed


def test_head_works_for_metrics_too(url: str) -> None:
    head = httpx.head(f"{url}/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert head.headers["content-type"] == httpx.get(f"{url}/metrics").headers["content-type"]


def test_routes_without_get_have_no_head(url: str) -> None:
    for path, allowed in (("/chat", "POST"), ("/api/pull", "POST"), ("/api/version", "GET, HEAD")):
        answer = httpx.put(f"{url}{path}") if "GET" in allowed else httpx.head(f"{url}{path}")
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_health_is_an_alias_of_healthz(url: str) -> None:
    assert httpx.get(f"{url}/health").json() == httpx.get(f"{url}/healthz").json()


def test_a_form_goes_upstream_with_its_file(url: str, fake: FakeOllama) -> None:
    fake.answer("listens", b'{"text":"hello"}')
    audio = bytes(range(256)) * 100 + b"\r\n--"
    files: list[Any] = [
        ("file", ('a "b".wav', audio, "audio/wav")),
        ("model", (None, "listens")),
        ("prompt", (None, "é")),
    ]
    answer = httpx.post(f"{url}/v1/audio/transcriptions?model=other", files=files)
    assert (answer.status_code, answer.json()) == (200, {"text": "hello"})
    received = fake.received[-1]
    assert received.path == "/v1/audio/transcriptions"
    assert received.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b"\r\n\r\n" + audio + b"\r\n--" in received.body
    assert b'name="prompt"\r\n\r\n\xc3\xa9\r\n' in received.body


FORM = "multipart/form-data; boundary=B"


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b'{"model":"m"}', "application/json", "multipart/form-data"),
        (b"--B\r\n", "multipart/form-data", "multipart/form-data"),
        (b"nothing", "multipart/form-data; boundary=B", "malformed"),
        (b"--B--\r\n", "multipart/form-data; boundary=B", "no fields"),
        (
            b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n',
            "multipart/form-data; boundary=B",
            "ends",
        ),
    ],
)
def test_a_body_that_is_not_a_form_gets_a_clear_error(
    content: bytes, kind: str, says: str, url: str, fake: FakeOllama
) -> None:
    before = len(fake.received)
    answer = httpx.post(f"{url}/v1/audio/transcriptions", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert says in answer.json()["error"]["message"]
    assert len(fake.received) == before


ANTHROPIC = next(case for case in CASES if case.path == "/v1/messages")


def test_anthropics_clients_can_read_the_request_id(url: str, fake: FakeOllama) -> None:
    own = json.dumps({"type": "error", "error": {"type": "x", "message": "no"}, "request_id": "req_other"})
    fake.answer("m", *ANTHROPIC.answer.parts, ANTHROPIC.answer.last)
    fake.answer("refuses", own.encode(), status=400)
    fake.answer("breaks", ANTHROPIC.answer.parts[0])
    for given, expected in (("abc", "req_abc"), ("req_9", "req_9")):
        for model in ("m", "refuses", "breaks", "absent"):
            answer = httpx.post(
                f"{url}/v1/messages", json=ANTHROPIC.request(model), headers={"X-Request-Id": given}
            )
            assert (answer.headers["request-id"], answer.headers["x-request-id"]) == (expected, given)
            told = re.findall(r'"request_id": ?"(\w+)"', answer.text)
            assert told == ([] if model == "m" else [expected]), answer.text
    for path in ("/v1/messages/count_tokens", "//v1/messages"):
        answer = httpx.get(f"{url}{path}", headers={"X-Request-Id": "abc"})
        assert answer.headers["request-id"] == answer.json()["request_id"] == "req_abc"
    assert "request-id" not in httpx.get(f"{url}/v1/models").headers


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/embed", 'model "absent" not found, try pulling it first'),
        ("/api/embeddings", 'model "absent" not found, try pulling it first'),
        ("/v1/embeddings", 'model "absent" not found, try pulling it first'),
        ("/api/show", "model 'absent:latest' not found"),
        ("/api/copy", 'model "absent" not found'),
        ("/api/chat", "model 'absent' not found"),
        ("/v1/chat/completions", "model 'absent' not found"),
        ("/chat", "model 'absent' not found"),
    ],
)
def test_a_missing_model_gets_ollamas_message(path: str, words: str, url: str) -> None:
    body = {"model": "absent", "source": "absent", "messages": [{"role": "user", "content": "x"}]}
    answer = httpx.post(f"{url}{path}", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error if isinstance(error, str) else error["message"]) == (404, words)


def test_a_missing_model_is_named_in_full(url: str) -> None:
    for name, shown in (
        ("Absent", "Absent:latest"),
        ("library/absent:8b", "absent:8b"),
        ("a/b", "a/b:latest"),
    ):
        message = httpx.get(f"{url}/v1/models/{name}").json()["error"]["message"]
        assert message == f"model '{shown}' not found"
