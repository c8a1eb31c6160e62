"""What `POST /chat` itself asks of a request; the rest is Ollama's to judge."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.routes.chat import check
from tests.unit.gateway.bodies import read_fields

USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": [USER]}, "model: a model name is required"),
        ({"model": None, "messages": [USER]}, "model: a model name is required"),
        ({"model": "", "messages": [USER]}, "model: a model name is required"),
        ({"model": "  ", "messages": [USER]}, "model: a model name is required"),
        ({"model": 1, "messages": [USER]}, "model: a model name must be a string, not 1"),
        ({"model": ["m"], "messages": [USER]}, "model: a model name must be a string, not an array"),
        ({"model": "m" * 351, "messages": [USER]}, "model: a model name has at most 350"),
        ({"model": "m", "messages": [USER], "stream": False}, "stream: POST /chat always streams"),
        ({"model": "m", "messages": [USER], "stream": "no"}, "stream: POST /chat always streams"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_name_of_the_field(body: Any, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check(read_fields(json.dumps(body).encode()))
    assert refused.value.message.startswith(says)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": []},
        {"messages": [], "keep_alive": 0},
        {"messages": [{"role": "wizard", "content": "hi"}]},
        {"messages": [{"role": "USER", "content": "hi"}]},
        {"messages": [{"role": "assistant", "thinking": "hm"}]},
        {"messages": [{"role": "tool", "tool_name": "f"}]},
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user", "content": "\ud83d"}]},
        {"messages": [USER], "stream": True, "options": [], "format": 1, "tools": {}, "think": "low"},
    ],
)
def test_what_ollama_judges_is_left_to_it(fields: dict[str, Any]) -> None:
    check(read_fields(json.dumps({"model": "smollm2:135m", **fields}).encode()))
