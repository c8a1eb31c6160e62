"""Answers of `POST /chat`, and what reaches upstream."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import question


def test_an_answer_comes_as_events(client: httpx.Client) -> None:
    response = client.post("/chat", json=question("good"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    events = response.content.split(b"\n\n")[:-1]
    assert events == [
        b"id: %d\ndata: %b" % (number, text.rstrip())
        for number, text in enumerate([line("a"), line("b"), line("c"), DONE], 1)
    ]


def test_the_request_reaches_upstream_unchanged(client: httpx.Client, fake: FakeOllama) -> None:
    body = json.dumps(question("good", options={"seed": 1}, new_field=[1])).encode()
    client.post(
        "/chat",
        content=body,
        headers={"X-Request-Id": "my-id.1", "Cookie": "c=1", "Origin": "http://localhost"},
    )
    received = fake.received[-1]
    assert (received.path, received.body) == ("/api/chat", body)
    assert received.headers["x-request-id"] == "my-id.1"
    assert not {"cookie", "origin"} & set(received.headers)


@pytest.mark.parametrize("sent", [{}, {"traceparent": "00-x-y-01", "tracestate": "a=1"}])
def test_no_trace_context_is_invented(client: httpx.Client, fake: FakeOllama, sent: dict[str, str]) -> None:
    client.post("/chat", json=question("good"), headers=sent)
    assert not {"traceparent", "tracestate"} & set(fake.received[-1].headers)


def test_a_curl_without_a_content_type_works(client: httpx.Client) -> None:
    body = json.dumps(question("good"))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/chat", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "é"])
def test_a_request_id_that_is_not_well_formed_is_replaced(client: httpx.Client, given: str) -> None:
    response = client.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_each_token_arrives_before_the_next_one_is_generated(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("paced", line("first"), Do.WAIT, DONE)
    with client.stream("POST", "/chat", json=question("paced")) as response:
        pieces = response.iter_raw()
        assert b"first" in next(pieces)
        fake.go_on()
        assert b'"done":true' in b"".join(pieces)


def test_an_answer_in_single_bytes_is_the_same_answer(client: httpx.Client, fake: FakeOllama) -> None:
    answer = line("é\u2028") + DONE
    fake.answer("whole", answer)
    fake.answer("bytes", *(answer[at : at + 1] for at in range(len(answer))))
    assert (
        client.post("/chat", json=question("bytes")).content
        == client.post("/chat", json=question("whole")).content
    )


def test_a_line_of_five_megabytes_passes(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("long", line("x" * 5_000_000), DONE)
    assert len(client.post("/chat", json=question("long")).content) > 5_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": []},
        {"messages": [], "keep_alive": 0},
        {"messages": [{"role": "WIZARD", "content": None}, {"role": "assistant", "thinking": "hm"}]},
        {"messages": [{"role": "user", "content": "\ud83d"}, {"role": "tool", "tool_name": "f"}]},
    ],
)
def test_chat_accepts_what_ollamas_api_chat_accepts(
    client: httpx.Client, fake: FakeOllama, fields: dict[str, Any]
) -> None:
    body = json.dumps({"model": "good", **fields}).encode()
    assert client.post("/chat", content=body).status_code == 200
    assert fake.received[-1].body == body


def test_the_documentation_describes_the_request(client: httpx.Client) -> None:
    documentation = client.get("/openapi.json")
    assert "$ref" not in documentation.text
    schema = documentation.json()["paths"]["/chat"]["post"]
    assert {"model", "messages"} <= set(
        schema["requestBody"]["content"]["application/json"]["schema"]["properties"]
    )
    assert client.get("/docs").status_code == 200
