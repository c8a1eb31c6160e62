"""Limits as the official clients see them."""

from itertools import pairwise
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.integration.limits.edge import Edge


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
