"""Guards count work, not time: how often a check gives way, and what it lets through to the decoder."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine.api import limits
from engine.api.anthropic.requests import MessagesRequest
from engine.api.ollama.requests import ChatRequest
from engine.api.openai.completion_requests import ChatCompletionRequest
from engine.api.openai.responses_requests import ResponsesRequest
from engine.errors import EngineError

EVIL = {
    "lists": b'{"x":[' + b"[]," * 3_300_000 + b"[]]}",
    "strings": b'{"x":[' + b'"",' * 3_300_000 + b'""]}',
    "numbers": b'{"x":[' + b"1," * 5_000_000 + b"1]}",
    "messages": json.dumps({"messages": [{"role": "user", "content": "x, y"}] * 300_000}).encode(),
    "tools": json.dumps({"tools": [{"function": {"parameters": {"properties": {}}}}] * 100_000}).encode(),
}


@pytest.mark.parametrize("kind", EVIL)
async def test_ten_megabytes_of_values_are_refused_before_they_are_decoded(kind: str) -> None:
    with pytest.raises(EngineError, match="too many values: at most 100000") as caught:
        await limits.check_structure(EVIL[kind])
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", EVIL)
async def test_a_refusal_gives_way_to_others_and_looks_at_no_more_than_it_must(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0

    async def count(seconds: float) -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr("engine.api.limits.asyncio.sleep", count)
    with pytest.raises(EngineError):
        await limits.check_structure(EVIL[kind])
    assert 10 <= turns <= 2 * limits.MAX_VALUES / limits.TOKENS_PER_STEP


@pytest.mark.parametrize("body", [b"[" * 10_000_000, b'{"a":' * 501 + b"1" + b"}" * 501])
async def test_what_is_nested_too_deep_is_refused(body: bytes) -> None:
    with pytest.raises(EngineError, match="exceeded max depth: at most 500 levels"):
        await limits.check_structure(body)


LEGAL = {
    "a text full of commas and brackets": json.dumps({"prompt": "a, [b], {c} " * 800_000}).encode(),
    "a text full of quotes": json.dumps({"prompt": '"a", ' * 1_000_000}).encode(),
    "five thousand messages": json.dumps({"m": [{"role": "user", "content": "a, b"}] * 5_000}).encode(),
    "a deep schema": b'{"format":' + b'{"a":' * 490 + b"1" + b"}" * 491,
}


@pytest.mark.parametrize("kind", LEGAL)
async def test_what_somebody_may_need_passes(kind: str) -> None:
    await limits.check_structure(LEGAL[kind])
    json.loads(LEGAL[kind])


@pytest.mark.parametrize("body", [b"]" * 5_000_000, b'{"a":"' + b"\\" * 1_000_001])
async def test_what_is_malformed_is_left_to_the_decoder(body: bytes) -> None:
    await limits.check_structure(body)


def test_a_body_without_end_is_refused() -> None:
    limits.check_size(limits.MAX_BYTES)
    with pytest.raises(EngineError) as caught:
        limits.check_size(limits.MAX_BYTES + 1)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "request_of",
    [
        lambda messages: ChatRequest({"model": "m", "messages": messages}),
        lambda messages: ChatCompletionRequest({"model": "m", "messages": messages}),
        lambda messages: MessagesRequest({"model": "m", "max_tokens": 1, "messages": messages}),
        lambda messages: ResponsesRequest({"model": "m", "input": messages}),
    ],
    ids=["Ollama", "OpenAI", "Anthropic", "responses"],
)
def test_more_messages_than_anybody_needs_are_refused_in_every_api(request_of: Callable[[Any], Any]) -> None:
    message = {"role": "user", "content": "x"}
    request_of([message] * limits.MAX_MESSAGES)
    with pytest.raises(EngineError, match="5001 messages; at most 5000 are allowed"):
        request_of([message] * (limits.MAX_MESSAGES + 1))
