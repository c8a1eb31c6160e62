import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.routes.chat import validated

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "body is empty"),
        (b"  \n", "body is empty"),
        (b"{", "not valid JSON"),
        (b'{"model": "m", "messages": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "the request body: "),
        (b'"text"', "the request body: "),
        ({"messages": [USER]}, "model: "),
        ({"model": "", "messages": [USER]}, "model: "),
        ({"model": "  ", "messages": [USER]}, "model: "),
        ({"model": 1, "messages": [USER]}, "model: "),
        ({"model": "m"}, "messages: "),
        ({"model": "m", "messages": []}, "messages: "),
        ({"model": "m", "messages": "hi"}, "messages: "),
        ({"model": "m", "messages": {"role": "user"}}, "messages: "),
        ({"model": "m", "messages": ["hi"]}, "messages[0]: "),
        ({"model": "m", "messages": [USER, {"content": "hi"}]}, "messages[1].role: "),
        ({"model": "m", "messages": [{"role": "wizard", "content": "hi"}]}, "messages[0].role: "),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages[0]: content"),
        ({"model": "m", "messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content: "),
        ({"model": "m" * 351, "messages": [USER]}, "model: "),
        ({"model": "m", "messages": [USER], "options": []}, "options: "),
        ({"model": "m", "messages": [USER], "format": 1}, "format: "),
        ({"model": "m", "messages": [USER], "tools": {}}, "tools: "),
        ({"model": "m", "messages": [USER], "stream": False}, "stream: POST /chat always streams"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_name_of_the_field(body: Any, says: str) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(InvalidRequest) as refused:
        validated(raw)
    assert says in refused.value.message
    assert refused.value.status == 400


def test_what_ollama_takes_is_taken() -> None:
    request = {
        "model": "smollm2:135m",
        "messages": [
            {"role": "system", "content": ""},
            {"role": "user", "content": "hi", "images": ["aGk="]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
            },
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            {"role": "tool", "content": "42", "tool_name": "f"},
        ],
        "stream": True,
        "options": {"num_predict": 3, "stop": ["x"]},
        "format": {"type": "object"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "think": "low",
        "keep_alive": "5m",
        "logprobs": True,
    }
    assert validated(json.dumps(request).encode()).model == "smollm2:135m"
