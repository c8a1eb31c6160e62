"""Anthropic's messages as Ollama 0.32.15 takes them: what each case says was seen on one."""

from typing import Any

import pytest

from engine.api.anthropic.requests import MessagesRequest
from engine.errors import EngineError
from engine.models.catalogue import Catalogue
from engine.models.model import Model

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
TEXT = {"type": "text", "text": "x"}


@pytest.fixture
def model() -> Model:
    return Catalogue(None).scan()[0]


def request(**fields: Any) -> MessagesRequest:
    messages = [{"role": "user", "content": "x"}]
    return MessagesRequest({"model": "m", "max_tokens": 5, "messages": messages, **fields})


def messages_of(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return request(messages=list(messages)).messages


def blocks(*content: Any, role: str = "user") -> list[dict[str, Any]]:
    return messages_of({"role": role, "content": list(content)})


def test_a_request_becomes_one_of_ollamas(model: Model) -> None:
    asked = request(
        system=[{"type": "text", "text": "be short"}, {"type": "zzz"}, 5],
        stop_sequences=["x"],
        messages=[
            {"role": "user", "content": "2+2?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "4"}]},
        ],
    )
    asked.check(model)
    body = asked.llama_body()
    system, question, use, result = body["messages"]
    assert system == {"role": "system", "content": "be short"}
    assert (question["role"], question["content"]) == ("user", "2+2?")
    assert use["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "t", "4")
    assert (body["stop"], body["n_predict"], body["temperature"]) == (["x"], 5, 0.8)


@pytest.mark.parametrize("role", ["system", "USER", "Assistant", "zzz", ""])
def test_any_role_is_taken_in_any_case(role: str) -> None:
    (message,) = messages_of({"role": role, "content": "x"})
    assert (message["role"], message["content"]) == (role.lower(), "x")


@pytest.mark.parametrize(
    "unknown",
    [
        {"type": "redacted_thinking", "data": "x"},
        {"type": "document", "source": {"type": "text", "data": "abc"}},
        {"type": "container_upload", "file_id": "x"},
        {"type": "mcp_tool_use", "id": "x", "name": "y", "input": {}},
        {"text": "no type"},
        {},
    ],
)
def test_blocks_that_are_not_known_are_skipped(unknown: dict[str, Any]) -> None:
    (message,) = blocks(unknown, TEXT)
    assert message["content"] == "x"
    assert blocks(unknown) == []


@pytest.mark.parametrize("content", ["", [], None])
def test_a_turn_that_says_nothing_is_none(content: Any) -> None:
    asked = request(messages=[{"role": "user", "content": content}])
    assert asked.messages == []
    assert asked.only_loads


def test_what_a_search_has_found_is_a_tools_result() -> None:
    found = [{"type": "web_search_result", "title": "a", "url": "b"}]
    use, result = blocks(
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": found},
        role="assistant",
    )
    assert use["tool_calls"][0]["id"] == "s"
    assert result["content"] == "- a: b\n"


@pytest.mark.parametrize(
    "content",
    [[IMAGE, TEXT], [{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}]],
    ids=["in a message", "in a tool's result"],
)
def test_an_image_is_refused_and_not_left_out(model: Model, content: list[Any]) -> None:
    with pytest.raises(EngineError, match="does not support images or audio") as caught:
        request(messages=[{"role": "user", "content": content}]).check(model)
    assert caught.value.status == 400


def test_thinking_is_let_go_where_the_model_does_not_think(model: Model) -> None:
    for fields in (
        {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "adaptive"}},
        {"output_config": {"effort": "high"}},
    ):
        asked = request(**fields)
        asked.check(model)
        assert "chat_template_kwargs" not in asked.llama_body()


def test_tools_take_openais_form() -> None:
    tools = [
        {"name": "f", "input_schema": {"type": "object"}},
        {"type": "web_search_20250305", "name": "web"},
    ]
    custom, search = request(tools=tools).template_body()["tools"]
    assert custom["function"]["parameters"] == {"type": "object"}
    assert search["function"]["name"] == "web_search"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, "model is required"),
        ({"max_tokens": 0}, "max_tokens is required and must be positive"),
        ({"messages": []}, "messages is required"),
        (
            {"top_k": 1.5},
            "cannot unmarshal number 1.5 into Go struct field MessagesRequest.top_k of type int",
        ),
    ],
)
def test_malformed_requests_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        request(**fields)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "cannot unmarshal number into Go struct field MessagesRequest.messages"),
        (["x"], "cannot unmarshal string into Go struct field MessagesRequest.messages of type anthropic"),
        ([{"type": "text", "text": 5}], "field MessagesRequest.messages.text of type string"),
        ([{"type": "image"}], "invalid image source"),
        (
            [{"type": "image", "source": {"type": "url", "url": "x"}}],
            "invalid image source type: url. Only base64 images are supported.",
        ),
        ([{"type": "image", "source": {"type": "base64", "data": "!"}}], "invalid base64 image data"),
        ([{"type": "tool_result", "content": [{"type": "image"}]}], "invalid tool_result image source"),
        ([{"type": "tool_use", "name": "f"}], "tool_use block missing required 'id' field"),
        ([{"type": "tool_use", "id": "f"}], "tool_use block missing required 'name' field"),
    ],
)
def test_malformed_content_is_refused_in_ollamas_words(content: Any, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        messages_of({"role": "user", "content": content})
