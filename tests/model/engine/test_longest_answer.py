"""An answer ends at the operator's limits, as if it had reached its own."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import FakeOllama
from tests.integration.apis import CASES, Case
from tests.integration.engines import MODEL
from tests.integration.programs import gateway
from tests.integration.stacks import Running, started, wait_until_free
from tests.processes import wait_until

MOST = 5
STORY = "Tell me a very long story."

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# What ends an answer because of its length. Ollama's responses do not say so.
LENGTH = {
    "ChatSSE": r'"done_reason":\s*"length"',
    "Ndjson": r'"done_reason":\s*"length"',
    "Completions": r'"finish_reason":\s*"length"',
    "Messages": r'"stop_reason":\s*"max_tokens"',
    "Responses": r'"type":\s*"response.completed"|"status":\s*"completed"',
}
COUNT = r'"(?:eval_count|completion_tokens|output_tokens)":\s*(\d+)'


def asks(case: Case, **fields: Any) -> dict[str, Any]:
    """A request for a long answer, which names no limit of its own. At temperature 0, since the model ends a
    story at random.
    """
    story = {"messages": [{"role": "user", "content": STORY}], "prompt": STORY, "input": STORY}
    body = {name: story.get(name, value) for name, value in case.request(MODEL).items()}
    body.pop("max_tokens", None)
    options = {"temperature": 0, **fields.pop("options", {})}
    more = {"stream_options": {"include_usage": True}, "temperature": 0, "options": options}
    return {**body, **more, **fields}


@pytest.fixture(scope="module")
def limited(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("limited")
    with gateway(engine, folder, GATEWAY_MAX_OUTPUT_TOKENS=str(MOST)) as (_, url):
        yield url


@every_api
@pytest.mark.parametrize(
    "requested",
    [{}, {"options": {"num_predict": -1}, "max_tokens": 1000, "max_output_tokens": 1000}],
    ids=["without a limit", "with a higher limit"],
)
def test_no_answer_of_a_model_is_longer_than_the_limit(
    case: Case, requested: dict[str, Any], limited: str
) -> None:
    bodies = [asks(case, **requested)]
    if case.path != "/chat":
        bodies.append(asks(case, **requested, stream=False))
    for body in bodies:
        text = httpx.post(limited + case.path, json=body, timeout=60).text
        assert re.search(LENGTH[case.dialect], text), text
        assert max(map(int, re.findall(COUNT, text))) == MOST


@every_api
def test_a_limit_below_the_operators_is_kept(case: Case, limited: str) -> None:
    lower = {"options": {"num_predict": 3}, "max_tokens": 3, "max_output_tokens": 3}
    text = httpx.post(limited + case.path, json=asks(case, **lower), timeout=60).text
    assert max(map(int, re.findall(COUNT, text))) == 3


def test_a_lowered_request_has_its_new_length_and_is_otherwise_forwarded_unchanged(
    limited: str, tmp_path: Any
) -> None:
    with (
        FakeOllama().running() as fake,
        gateway(fake.url, tmp_path, GATEWAY_MAX_OUTPUT_TOKENS="5") as (_, url),
    ):
        fake.answer("m", json.dumps({"done": True}).encode())
        httpx.post(
            f"{url}/api/chat", content=b'{ "model":"m",\n"unknown" : 1.50, "options":{"num_predict":70}}'
        )
        received = fake.received[-1]
    assert received.body == b'{ "model":"m",\n"unknown" : 1.50, "options":{"num_predict":5}}'
    assert received.headers["content-length"] == str(len(received.body))


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack whose longest answer takes two seconds, with its model in memory."""
    with started(tmp_path_factory.mktemp("brief"), GATEWAY_MAX_ANSWER_SECONDS="2") as stack:
        engine = f"http://127.0.0.1:{stack.ports['ENGINE_PORT']}"
        httpx.post(f"{engine}/api/generate", json={"model": MODEL}, timeout=60)
        yield stack


@every_api
def test_an_answer_that_takes_too_long_frees_the_slot_at_once(case: Case, brief: Running) -> None:
    before = len(cut_lines(brief))
    body = asks(case, temperature=0, options={"temperature": 0}, max_tokens=2000)
    with httpx.stream("POST", brief.url + case.path, json=body, timeout=60) as response:
        text = response.read()
    wait_until_free(brief)
    assert case.terminals(text) == 1
    assert not case.tells_an_error(text)
    length = r'"reason": "max_output_tokens"' if case.dialect == "Responses" else LENGTH[case.dialect]
    assert re.search(length, text.decode())
    wait_until(lambda: len(cut_lines(brief)) > before, 10, "the log says that the answer was cut")
    line = cut_lines(brief)[-1]
    assert (line["outcome"], line["status"], line["output_tokens"]) == ("ok", 200, None)
    assert line["chunks"] > 0


def cut_lines(stack: Running) -> list[dict[str, Any]]:
    return [line for line in stack.log_lines("gateway") if line.get("cut")]


def test_cut_answers_are_counted_by_model(brief: Running) -> None:
    body = asks(CASES[0], options={"temperature": 0})
    httpx.post(f"{brief.url}/chat", json=body, timeout=60)
    metrics = httpx.get(f"{brief.gateway_url}/metrics", timeout=30).text
    assert re.search(rf'^gateway_answers_cut_total{{model="{MODEL}"}} [1-9]', metrics, re.MULTILINE)
