"""Requests that are refused, and answers that fail."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.programs import MAX_BODY


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"nonsense", "not valid JSON"),
        (json.dumps({"messages": []}).encode(), "model"),
        (json.dumps({"model": "", "messages": [{"role": "user", "content": "hi"}]}).encode(), "model"),
        (json.dumps(question("good", stream=False)).encode(), "always streams"),
    ],
)
def test_an_invalid_request_gets_400_with_the_reason(
    client: httpx.Client, fake: FakeOllama, body: bytes, says: str
) -> None:
    asked_before = len(fake.received)
    response = client.post("/chat", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["request_id"] == response.headers["x-request-id"]
    assert len(fake.received) == asked_before


def test_a_body_over_the_limit_is_refused_with_or_without_a_content_length(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"{" * (MAX_BODY + 1)

    for content in (b"{" * (MAX_BODY + 1), pieces()):
        response = client.post("/chat", content=content)
        assert response.status_code == 413
        assert str(MAX_BODY) in response.json()["error"]["message"]


def test_an_unknown_path_or_method_is_404_or_405_in_the_same_shape(client: httpx.Client) -> None:
    assert client.get("/nothing").json()["error"]["code"] == "not_found"
    response = client.get("/chat")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert client.put("/").headers["allow"] == "GET, HEAD"
    assert client.put("/api/blobs/sha256:0").headers["allow"] == "HEAD, POST"
    assert client.put("/readyz").headers["allow"] == "GET, HEAD"


def test_an_unknown_model_is_404_with_ollamas_message(client: httpx.Client) -> None:
    response = client.post("/chat", json=question("nobody"))
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "model 'nobody' not found"


@pytest.mark.parametrize(
    ("upstream_status", "status", "code"),
    [(400, 400, "invalid_request"), (500, 502, "upstream_error"), (503, 503, "upstream_busy")],
)
def test_upstreams_refusal_keeps_its_message(
    client: httpx.Client, fake: FakeOllama, upstream_status: int, status: int, code: str
) -> None:
    fake.answer("refuses", b'{"error":"no, because"}', status=upstream_status)
    response = client.post("/chat", json=question("refuses"))
    assert response.status_code == status
    assert (response.json()["error"]["code"], response.json()["error"]["message"]) == (code, "no, because")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([line(), Do.DROP], "upstream_truncated"),
        ([line(), line()[:20], Do.DROP], "upstream_truncated"),
        ([line()], "upstream_truncated"),
        ([line(), b'{"error":"boom"}\n'], "upstream_error"),
        ([line(), b"<html>\n"], "upstream_error"),
    ],
)
def test_a_failure_midway_is_the_last_event(
    client: httpx.Client, fake: FakeOllama, steps: list[Any], code: str
) -> None:
    fake.answer("breaks", *steps)
    events = client.post("/chat", json=question("breaks")).content.split(b"\n\n")
    assert events[0].startswith(b"id: 1\ndata: ")
    assert events[-1] == b""
    name, data = events[-2].split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["code"] == code
    assert len(events) == 3


def test_a_connection_that_is_closed_without_an_answer_is_502(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("closes", Do.DROP)
    response = client.post("/chat", json=question("closes"))
    assert response.status_code == 502


def test_an_error_whose_body_breaks_off_keeps_its_status(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("breaks off", b'{"err', Do.DROP, status=503)
    assert client.post("/chat", json=question("breaks off")).status_code == 503
