"""The limits of keys and addresses, through nginx and the gateway, as each API's clients see them."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import ollama
import openai
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.fakes.ollama import Do, FakeOllama, line
from tests.integration.apis import CASES, CHAT, Case, whole_answer
from tests.integration.clients.answers import MESSAGE
from tests.integration.programs import gateway, nginx
from tests.integration.scrapes import value
from tests.processes import Process, wait_until

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
TERMS = ("requests=1/m", "requests=1/s", "tokens=20/m", "tokens=1M/d", "concurrent=1", "requests=60/m", "-")
KEYS_OF_EACH = 20
WHOLE = b'{"model":"m","done":true,"prompt_eval_count":11,"eval_count":3}'


@dataclass
class Edge:
    """nginx in front of a gateway with keys, of which each test takes a fresh one."""

    url: str
    gateway: str
    process: Process
    fake: FakeOllama
    keys: dict[str, list[str]]
    client: httpx.Client

    def key(self, terms: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[terms].pop()}"}

    def ask(self, key: dict[str, str], case: Case = CHAT, model: str = "", **fields: Any) -> httpx.Response:
        question = case.request(model or case.name, **fields)
        return self.client.post(case.path, json=question, headers=key)

    def usage(self, key: dict[str, str]) -> dict[str, Any]:
        answer = self.client.get("/usage", headers=key)
        assert answer.status_code == 200
        usage: dict[str, Any] = answer.json()
        return usage

    def statuses(self, key: dict[str, str], answers: int) -> list[int]:
        """The statuses that the gateway has logged, once there are `answers` with 200."""
        caller = self.usage(key)["caller"]

        def logged() -> list[int]:
            lines = [json.loads(text) for text in self.process.output.splitlines() if text.startswith("{")]
            mine = [entry for entry in lines if entry.get("key") == caller and entry["route"] != "/usage"]
            return [entry["status"] for entry in mine]

        wait_until(lambda: logged().count(200) == answers, 5, "all answers are logged")
        return logged()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("limits")
    file, keys = KeyFile(folder / "keys"), defaultdict(list)
    for terms in TERMS:
        for number in range(KEYS_OF_EACH):
            name = f"{re.sub('[^a-z0-9]', '-', terms)}{number}".strip("-")
            keys[terms].append(file.create(f"k{name}", "user", EVERY_MODEL, None, parse_terms(terms)))
    fake = FakeOllama()
    for case in CASES:
        fake.answer(case.name, case.answer.whole)
    fake.answer("message", *MESSAGE)
    fake.answer("hangs", *[line()] * 5, Do.HANG)
    settings = {"GATEWAY_KEYS_FILE": str(folder / "keys"), "GATEWAY_CORS_ORIGINS": "http://page"}
    settings["GATEWAY_OPEN_METRICS"] = "on"
    with ExitStack() as stack:
        stack.enter_context(fake.running())
        process, url = stack.enter_context(gateway(fake.url, folder, **settings))
        process.wait_ready(f"{url}/readyz")
        _, outside = stack.enter_context(nginx(urlsplit(url).port or 0))
        client = stack.enter_context(httpx.Client(base_url=outside, timeout=30))
        yield Edge(outside, url, process, fake, keys, client)


def names(case: Case, unit: str) -> list[str]:
    """The names of the headers with limit, remaining and reset."""
    fields = ("limit", "remaining", "reset")
    if case.path == "/v1/messages":
        return [f"anthropic-ratelimit-{unit}-{field}" for field in fields]
    return [f"x-ratelimit-{field}-{unit}" for field in fields]


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
        limit, remaining, reset = (answer.headers[name] for name in names(case, "requests"))
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
        left.append(answer.headers[names(case, "tokens")[1]])
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


def test_usage_tells_a_caller_its_own_limits_and_what_is_left(edge: Edge) -> None:
    key = edge.key("requests=60/m")
    assert edge.usage(key)["total"] == {"requests": 0, "tokens": 0, "seconds": 0}
    edge.ask(key)
    usage = edge.usage(key)
    (window,) = usage["limits"]["requests"]
    assert 50 < window.pop("reset_seconds") <= 60
    assert window == {"limit": 60, "seconds": 60, "used": 1, "remaining": 59}
    assert (usage["in_flight"], usage["total"]["requests"], usage["total"]["tokens"]) == (0, 1, 14)


def test_usage_of_a_key_without_limits_is_empty(edge: Edge) -> None:
    key = edge.key("-")
    answer = edge.ask(key)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "ratelimit" in name]
    usage = edge.usage(key)
    assert usage["caller"].startswith("k")
    assert usage["limits"] == {"requests": [], "tokens": [], "concurrent": None, "max_output": None}
    assert edge.client.get("/usage").status_code == 401


def test_lists_and_usage_are_not_limited(edge: Edge) -> None:
    key = edge.key("requests=1/m")
    assert [edge.client.get("/v1/models", headers=key).status_code for _ in range(3)] == [200] * 3
    assert edge.usage(key)["total"]["requests"] == 0
    assert edge.ask(key).status_code == 200


def test_pages_may_read_the_headers(edge: Edge) -> None:
    answer = edge.ask({**edge.key("requests=1/m"), "Origin": "http://page"})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {name for name in answer.headers if "ratelimit" in name} <= set(exposed)
    assert set(names(CASES[-1], "tokens")) <= set(exposed)


def test_metrics_count_what_each_key_uses_by_its_name(edge: Edge) -> None:
    key = edge.key("requests=1/m")
    caller = edge.usage(key)["caller"]
    assert [edge.ask(key).status_code for _ in range(2)] == [200, 429]

    def counted(name: str, **labels: str) -> float | None:
        return value(edge.gateway, f"gateway_key_{name}_total", key=caller, model="chat:latest", **labels)

    wait_until(lambda: counted("requests", outcome="rejected") == 1, 5, "the refusal is counted")
    assert counted("requests", outcome="ok") == 1
    assert (counted("tokens", type="input"), counted("tokens", type="output")) == (11, 3)
    assert edge.keys["requests=1/m"][0] not in httpx.get(f"{edge.gateway}/metrics").text


def test_metrics_by_key_can_be_switched_off(tmp_path: Path, edge: Edge) -> None:
    key = KeyFile(tmp_path / "keys").create("alice", "admin", EVERY_MODEL, None)
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys"), "GATEWAY_KEY_METRICS": "off"}
    with gateway(edge.fake.url, tmp_path, **settings) as (_, url), httpx.Client(base_url=url) as client:
        client.headers["x-api-key"] = key
        assert client.post("/chat", json=CHAT.request("chat")).status_code == 200
        counted = 'gateway_requests_total{model="chat:latest",outcome="ok",route="/chat"'
        wait_until(lambda: counted in client.get("/metrics").text, 5, "the request is counted")
        assert "alice" not in client.get("/metrics").text


# The real clients.


def openai_client(edge: Edge, key: dict[str, str], **settings: Any) -> openai.OpenAI:
    text = key["Authorization"].removeprefix("Bearer ")
    return openai.OpenAI(base_url=f"{edge.url}/v1", api_key=text, timeout=30, **settings)


def anthropic_client(edge: Edge, key: dict[str, str], **settings: Any) -> anthropic.Anthropic:
    text = key["Authorization"].removeprefix("Bearer ")
    return anthropic.Anthropic(base_url=edge.url, api_key=text, timeout=30, **settings)


def complete(client: openai.OpenAI) -> str:
    chunks = client.chat.completions.create(
        model="openai chat", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def message(client: anthropic.Anthropic) -> str:
    with client.messages.stream(
        model="message", messages=[{"role": "user", "content": "hi"}], max_tokens=5
    ) as stream:
        return "".join(stream.text_stream)


def test_openais_client_raises_its_rate_limit_error(edge: Edge) -> None:
    client = openai_client(edge, edge.key("requests=1/m"), max_retries=0)
    assert complete(client).startswith("Hello")
    with pytest.raises(openai.RateLimitError, match="the limit is 1/m") as raised:
        complete(client)
    assert (raised.value.code, raised.value.type) == ("rate_limit_exceeded", "requests")
    assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"


def test_openais_client_retries_by_itself_after_the_time_and_succeeds(edge: Edge) -> None:
    key = edge.key("requests=1/s")
    client = openai_client(edge, key)
    assert [complete(client)[:5] for _ in range(3)] == ["Hello"] * 3
    statuses = edge.statuses(key, answers=3)
    # It waits for as long as Retry-After says, so no retry is refused.
    assert statuses.count(429) in (1, 2)
    assert (429, 429) not in pairwise(statuses)


def test_anthropics_client_raises_its_rate_limit_error(edge: Edge) -> None:
    client = anthropic_client(edge, edge.key("requests=1/m"), max_retries=0)
    assert message(client).startswith("Hello")
    with pytest.raises(anthropic.RateLimitError, match="the limit is 1/m") as raised:
        message(client)
    assert raised.value.response.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_anthropics_client_retries_by_itself_after_the_time_and_succeeds(edge: Edge) -> None:
    key = edge.key("requests=1/s")
    client = anthropic_client(edge, key)
    assert [message(client)[:5] for _ in range(3)] == ["Hello"] * 3
    statuses = edge.statuses(key, answers=3)
    assert statuses.count(429) in (1, 2)
    assert (429, 429) not in pairwise(statuses)


def test_ollamas_client_raises_its_response_error(edge: Edge) -> None:
    with ollama.Client(edge.url, headers=edge.key("requests=1/m")) as client:
        messages = [{"role": "user", "content": "hi"}]
        assert [part.done for part in client.chat("api chat", messages, stream=True)][-1]
        with pytest.raises(ollama.ResponseError, match="the limit is 1/m") as raised:
            list(client.chat("api chat", messages, stream=True))
    assert raised.value.status_code == 429
