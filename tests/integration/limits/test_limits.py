"""The limits of keys and addresses, through nginx and the gateway, on each API."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.integration.apis import CASES, CHAT, Case, whole_answer
from tests.integration.limits.edge import Edge, header_names
from tests.integration.programs import gateway, nginx
from tests.processes import wait_until

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
WHOLE = b'{"model":"m","done":true,"prompt_eval_count":11,"eval_count":3}'


def expected_error(case: Case, answer: httpx.Response, unit: str) -> dict[str, Any]:
    """What the API's own server answers, with the gateway's message."""
    message = f"too many {unit}: the limit is .*/m; try again after {answer.headers['retry-after']} s"
    body: dict[str, Any] = answer.json()
    said = body["error"] if isinstance(body["error"], str) else body["error"]["message"]
    assert re.fullmatch(message, said)
    request_id = answer.headers["x-request-id"]
    shapes: dict[str, dict[str, Any]] = {
        "/chat": {
            "error": {
                "message": said,
                "type": "rate_limit_error",
                "code": "rate_limited",
                "request_id": request_id,
            }
        },
        "/api": {"error": said},
        "/v1": {
            "error": {"message": said, "type": unit, "param": None, "code": "rate_limit_exceeded"},
        },
        "/v1/messages": {
            "type": "error",
            "error": {"type": "rate_limit_error", "message": said},
            "request_id": f"req_{request_id}",
        },
    }
    return shapes.get(case.path) or shapes[f"/{case.path.split('/')[1]}"]


@every_api
@pytest.mark.parametrize("streams", [True, False], ids=["streaming", "whole"])
def test_a_request_beyond_a_limit_gets_429_in_its_apis_shape_with_the_headers(
    edge: Edge, case: Case, streams: bool
) -> None:
    edge.fake.answer("any", case.answer.whole if streams else whole_answer(case))
    key = edge.key("requests=1/m")
    fields: dict[str, Any] = {} if case is CHAT else {"stream": streams}
    first, second = (edge.ask(key, case, "any", **fields) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    for answer in (first, second):
        limit, remaining, reset = (answer.headers[name] for name in header_names(case, "requests"))
        assert (limit, remaining) == ("1", "0")
        assert re.fullmatch(r"\d{4}-.*T.*Z" if case.path == "/v1/messages" else r"\d+s|1m0s", reset)
    assert 50 < int(second.headers["retry-after"]) <= 60
    assert second.headers["content-type"] == "application/json"
    assert second.json() == expected_error(case, second, "requests")


@every_api
def test_tokens_are_charged_at_the_end_of_the_answer(edge: Edge, case: Case) -> None:
    key = edge.key("tokens=20/m")
    left = []
    for _ in range(2):
        answer = edge.ask(key, case)
        assert answer.status_code == 200
        assert case.terminals(answer.content) == 1
        left.append(answer.headers[header_names(case, "tokens")[1]])
    # Each takes 14, the second one more than is left.
    assert left == ["20", "6"]
    (window,) = edge.usage(key)["limits"]["tokens"]
    assert (window["limit"], window["used"], window["remaining"]) == (20, 28, 0)
    refused = edge.ask(key, case)
    assert refused.status_code == 429
    assert refused.json() == expected_error(case, refused, "tokens")


def test_whole_answers_are_charged_too(edge: Edge) -> None:
    key = edge.key("tokens=20/m")
    edge.fake.answer("whole", WHOLE)
    case = next(case for case in CASES if case.path == "/api/chat")
    assert edge.ask(key, case, "whole", stream=False).json()["done"] is True
    assert edge.usage(key)["limits"]["tokens"][0]["used"] == 14


@contextmanager
def hanging(edge: Edge, key: dict[str, str]) -> Iterator[None]:
    """A request of which five chunks have come, and no more are to come."""
    question = CHAT.request("hangs")
    with edge.client.stream("POST", "/chat", json=question, headers=key) as answer:
        received, pieces = b"", answer.iter_raw()  # closing the iterator would close the connection
        while received.count(b"data:") < 5:
            received += next(pieces)
        yield


def test_a_client_that_leaves_is_charged_what_was_generated(edge: Edge) -> None:
    key = edge.key("tokens=1M/d")
    with hanging(edge, key):
        assert edge.usage(key)["limits"]["tokens"][0]["used"] == 0
        assert edge.usage(key)["in_flight"] == 1
    wait_until(lambda: edge.usage(key)["in_flight"] == 0, 5, "the request has ended")
    sent = edge.fake.received[-1].body
    assert edge.usage(key)["limits"]["tokens"][0]["used"] == 5 + len(sent) // 4


def test_a_request_that_the_model_server_refuses_costs_no_tokens(edge: Edge) -> None:
    key = edge.key("tokens=20/m")
    edge.fake.answer("refuses", b'{"error":"invalid option"}', status=400)
    refused = edge.ask(key, model="refuses", padding="x" * 1000)
    assert refused.status_code == 400
    assert refused.headers["x-ratelimit-limit-tokens"] == "20"
    assert edge.usage(key)["limits"]["tokens"][0]["used"] == 0


def test_requests_at_the_same_time_are_limited(edge: Edge) -> None:
    key = edge.key("concurrent=1")
    with hanging(edge, key):
        refused = edge.ask(key)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert "at the same time: the limit is 1" in refused.json()["error"]["message"]
    wait_until(lambda: edge.usage(key)["in_flight"] == 0, 5, "the request has ended")
    assert edge.ask(key).status_code == 200


@every_api
def test_requests_one_after_the_other_are_never_too_many_at_the_same_time(edge: Edge, case: Case) -> None:
    """Even if the model server ends its body later than the answer."""
    key = edge.key("concurrent=1")
    edge.fake.answer("slow end", case.answer.whole, 0.05)
    assert [edge.ask(key, case, "slow end").status_code for _ in range(10)] == [200] * 10


def test_keys_of_the_same_name_share_their_limits(tmp_path: Path, edge: Edge) -> None:
    file, terms = KeyFile(tmp_path / "keys"), parse_terms("requests=1/m")
    one, other = (file.create("alice", "user", EVERY_MODEL, None, terms) for _ in range(2))
    bob = file.create("bob", "user", EVERY_MODEL, None, terms)
    with gateway(edge.fake.url, tmp_path, GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as (_, url):
        statuses = [
            httpx.post(f"{url}/chat", json=CHAT.request("chat"), headers={"x-api-key": key}).status_code
            for key in (one, other, bob)
        ]
    assert statuses == [200, 429, 200]


def test_a_changed_limit_applies_within_seconds_and_to_what_is_used_already(
    tmp_path: Path, edge: Edge
) -> None:
    file = KeyFile(tmp_path / "keys")
    key = {"x-api-key": file.create("alice", "user", EVERY_MODEL, None, parse_terms("requests=60/m"))}
    with gateway(edge.fake.url, tmp_path, GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as (_, url):
        assert httpx.post(f"{url}/chat", json=CHAT.request("chat"), headers=key).status_code == 200
        file.change_terms("alice", {"requests": parse_terms("requests=1/m").limits.requests})

        def limit() -> int:
            limits = httpx.get(f"{url}/usage", headers=key).json()["limits"]
            return int(limits["requests"][0]["limit"])

        wait_until(lambda: limit() == 1, 10, "the change applies")
        assert httpx.post(f"{url}/chat", json=CHAT.request("chat"), headers=key).status_code == 429


def test_without_keys_the_default_limits_apply_to_each_address(tmp_path: Path, edge: Edge) -> None:
    limits = {"GATEWAY_LIMIT_REQUESTS": "1/m", "GATEWAY_LIMIT_TOKENS": "1k/d"}
    with gateway(edge.fake.url, tmp_path, **limits) as (_, url):

        def status(address: str) -> int:
            # From this machine, as nginx sends it.
            headers = {"X-Forwarded-For": address}
            return httpx.post(f"{url}/chat", json=CHAT.request("chat"), headers=headers).status_code

        assert [status("192.0.2.1"), status("192.0.2.1"), status("192.0.2.2")] == [200, 429, 200]
        assert [status("2001:db8::1"), status("2001:db8::2"), status("2001:db8:0:1::1")] == [200, 429, 200]
        # Another address than nginx's own view of the client cannot be chosen.
        with nginx(urlsplit(url).port or 0) as (_, outside):
            statuses = [
                httpx.post(
                    f"{outside}/chat", json=CHAT.request("chat"), headers={"X-Forwarded-For": address}
                ).status_code
                for address in ("192.0.2.3", "192.0.2.4")
            ]
            usage = httpx.get(f"{outside}/usage").json()
    assert statuses == [200, 429]
    assert usage["caller"] == "127.0.0.1"
    assert [window["used"] for window in usage["limits"]["tokens"]] == [14]
