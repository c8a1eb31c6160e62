"""OpenAI's and Anthropic's APIs: answers and token counts."""

import json
from typing import Any

import httpx

from tests.integration.engines import MODEL, ask


def test_openai_chat_completions_stream_and_count(engine: str) -> None:
    fields = {"max_tokens": 3, "temperature": 0}
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    response = ask(engine, "/v1/chat/completions", **fields, **streamed)
    assert response.headers["content-type"].startswith("text/event-stream")
    payloads = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    assert payloads[-1] == "[DONE]"
    chunks = [json.loads(payload) for payload in payloads[:-1]]
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert len({chunk["id"] for chunk in chunks}) == 1
    usage = chunks[-1]["usage"]
    cached = usage.pop("prompt_tokens_details")["cached_tokens"]
    assert usage == {"prompt_tokens": 36, "completion_tokens": 3, "total_tokens": 39}
    assert 0 <= cached < 36
    whole = ask(engine, "/v1/chat/completions", **fields).json()
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 3


def test_a_repeated_prompt_comes_from_the_cache_and_usage_reports_it(idle: str) -> None:
    def cached(path: str, *names: str, **fields: Any) -> int:
        found = ask(idle, path, **fields).json()["usage"]
        for name in names:
            found = found[name]
        number: int = found
        return number

    chat = ("/v1/chat/completions", "prompt_tokens_details", "cached_tokens")
    cached(*chat, max_tokens=1)
    assert cached(*chat, max_tokens=1) > 20
    response = ("/v1/responses", "input_tokens_details", "cached_tokens")
    assert cached(*response, input="Why is the sky blue?", max_output_tokens=1) > 20
    completion = ("/v1/completions", "prompt_tokens_details", "cached_tokens")
    assert cached(*completion, prompt="Why is the sky blue?", max_tokens=1) > 20


def test_openai_completions_apply_the_chat_template_as_ollama_does(engine: str) -> None:
    fields = {"prompt": "Why is the sky blue?", "max_tokens": 3, "temperature": 0}
    answer = ask(engine, "/v1/completions", **fields).json()
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["usage"]["prompt_tokens"] == 36
    assert answer["choices"][0]["finish_reason"] == "length"
    empty = ask(engine, "/v1/completions", prompt="").json()
    assert (empty["choices"][0]["text"], empty["choices"][0]["finish_reason"]) == ("", "load")


def test_openai_models_are_listed(engine: str) -> None:
    (model,) = httpx.get(engine + "/v1/models").json()["data"]
    assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "library")
    assert httpx.get(f"{engine}/v1/models/{MODEL}").json() == model
    for name in (f"library/{MODEL}", f"library%2F{MODEL}", f"registry.ollama.ai/library/{MODEL}"):
        assert httpx.get(f"{engine}/v1/models/{name}").json() == model


def test_anthropic_messages_stream_and_count(engine: str) -> None:
    response = ask(engine, "/v1/messages", max_tokens=3, stream=True, temperature=0, system="Be short.")
    data = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: ")]
    assert data[0]["type"] == "message_start"
    assert data[-1]["type"] == "message_stop"
    assert data[-2]["delta"]["stop_reason"] == "max_tokens"
    assert data[0]["message"]["usage"]["input_tokens"] == data[-2]["usage"]["input_tokens"] > 10
    whole = ask(engine, "/v1/messages", max_tokens=3, temperature=0).json()
    assert whole["content"][0]["type"] == "text"
    assert whole["usage"]["output_tokens"] == 3
