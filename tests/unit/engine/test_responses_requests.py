"""OpenAI's responses as Ollama 0.32.15 takes them: what each case says was seen on one."""

from typing import Any

import pytest

from engine.api.openai.responses_requests import ResponsesRequest
from engine.errors import EngineError
from engine.models.catalogue import Catalogue
from engine.models.model import Model

PNG = {"type": "input_image", "image_url": "data:image/png;base64,aGVsbG8="}
USER_MESSAGE = {"role": "user", "content": "hi"}


@pytest.fixture
def model() -> Model:
    return Catalogue(None).scan()[0]


def request(*items: Any, **fields: Any) -> ResponsesRequest:
    return ResponsesRequest({"model": "m", "input": list(items), **fields})


def messages_of(*items: Any) -> list[dict[str, Any]]:
    return request(*items).messages


def test_a_text_is_what_the_user_says_and_instructions_come_first() -> None:
    asked = ResponsesRequest({"model": "m", "input": "hi", "instructions": "be short"})
    assert [(m["role"], m["content"]) for m in asked.messages] == [("system", "be short"), ("user", "hi")]


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "hi"},
        {"type": "message", "role": "user", "content": "hi"},
        {"ROLE": "USER", "Content": [{"Type": "input_text", "Text": "hi"}]},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "h"}, {"type": "output_text", "text": "i"}],
        },
    ],
)
def test_an_item_with_a_role_is_a_message_with_or_without_its_type(item: dict[str, Any]) -> None:
    assert [(m["role"], m["content"]) for m in messages_of(item)] == [("user", "hi")]


@pytest.mark.parametrize("content", [None, "", []])
def test_a_message_may_say_nothing(content: Any) -> None:
    assert messages_of({"role": "user", "content": content})[0]["content"] == ""


@pytest.mark.parametrize(
    "reasoning",
    [
        {"type": "reasoning"},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    ],
)
def test_a_reasoning_item_may_have_no_content_that_ollama_reads(reasoning: dict[str, Any]) -> None:
    assert [message["role"] for message in messages_of(USER_MESSAGE, reasoning, USER_MESSAGE)] == [
        "user",
        "user",
    ]


def test_a_thought_belongs_to_what_the_assistant_says_next_or_stands_alone() -> None:
    thought = {"type": "reasoning", "encrypted_content": "hm"}
    (_, message) = messages_of(USER_MESSAGE, thought, {"role": "assistant", "content": "ho"})
    assert (message["reasoning_content"], message["content"]) == ("hm", "ho")
    (_, alone) = messages_of(USER_MESSAGE, thought)
    assert (alone["role"], alone["reasoning_content"]) == ("assistant", "hm")


@pytest.mark.parametrize("arguments", [{}, {"arguments": None}, {"arguments": ""}, {"arguments": "{}"}])
def test_a_call_may_have_no_arguments(arguments: dict[str, Any]) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", **arguments}
    use, result = messages_of(call, {"type": "function_call_output", "call_id": "c", "output": "x"})
    assert use["tool_calls"][0] == {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
    }
    assert (result["role"], result["tool_call_id"], result["content"]) == ("tool", "c", "x")


def test_calls_and_what_is_said_between_them_and_their_outputs_are_one_turn() -> None:
    calls = [{"type": "function_call", "call_id": name, "name": "f"} for name in "ab"]
    (turn,) = messages_of(*calls, {"role": "assistant", "content": "wait"})
    assert [call["id"] for call in turn["tool_calls"]] == ["a", "b"]
    assert turn["content"] == "wait"


def test_an_output_may_be_missing_or_have_parts() -> None:
    parts = [{"type": "input_text", "text": "x"}]
    none, some = messages_of(
        {"type": "function_call_output"}, {"type": "function_call_output", "output": parts}
    )
    assert (none["content"], some["content"]) == ("", "x")


def test_a_search_of_earlier_is_skipped() -> None:
    assert len(messages_of({"type": "web_search_call", "id": "w", "status": "completed"}, USER_MESSAGE)) == 1


@pytest.mark.parametrize(
    "item",
    [{"role": "user", "content": [PNG]}, {"type": "function_call_output", "call_id": "c", "output": [PNG]}],
)
def test_an_image_is_refused_for_this_model(model: Model, item: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="does not support images or audio") as caught:
        request(item).check(model)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ([{"type": "input_image", "file_id": "x"}], "image files are not supported"),
        ([{"type": "input_image", "image_url": "http://x/y"}], "image URLs are not currently supported"),
        (
            [{"type": "input_audio", "input_audio": {}}],
            r"input\[0\]: content\[0\]: unknown content type: input_a",
        ),
        ([{"type": "input_file", "file_id": "x"}], "file inputs are not currently supported"),
        ([{"type": "zzz"}], r"input\[0\]: content\[0\]: unknown content type: zzz"),
        (5, r"input\[0\]: content must be a string or array"),
    ],
)
def test_content_that_can_not_be_used_is_refused_and_not_left_out(content: Any, error: str) -> None:
    with pytest.raises(EngineError, match=error) as caught:
        messages_of({"role": "user", "content": content})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([{}], r"input\[0\]: input item missing required 'type' field"),
        (
            [USER_MESSAGE, {"type": "item_reference"}],
            r'input\[1\]: unknown input item type: "item_reference"',
        ),
        ([{"type": "function_call", "arguments": "{"}], "failed to parse function call arguments"),
        (5, "input must be a string or array: json: cannot unmarshal number"),
    ],
)
def test_malformed_input_is_refused_in_ollamas_words(items: Any, error: str) -> None:
    with pytest.raises(EngineError, match=error):
        ResponsesRequest({"model": "m", "input": items})


def test_a_model_is_needed_and_an_input_is_not() -> None:
    assert ResponsesRequest({"model": "m"}).only_loads
    with pytest.raises(EngineError, match="model is required"):
        ResponsesRequest({"input": "x"})


def test_an_effort_is_refused_for_a_model_that_does_not_think(model: Model) -> None:
    with pytest.raises(EngineError, match='"m" does not support thinking'):
        request(USER_MESSAGE, reasoning={"effort": "high"}).check(model)


def test_the_tools_of_a_namespace_carry_its_name() -> None:
    inner = {"type": "function", "name": "read", "parameters": {"type": "object"}}
    tools = [{"type": "namespace", "name": "files", "tools": [inner]}, inner]
    functions = [
        tool["function"]["name"] for tool in request(USER_MESSAGE, tools=tools).template_body()["tools"]
    ]
    assert functions == ["files.read", "read"]


def test_llama_cpp_gets_the_sampling_that_was_asked_for(model: Model) -> None:
    schema = {"type": "string"}
    asked = request(
        USER_MESSAGE, max_output_tokens=3, text={"format": {"type": "json_schema", "schema": schema}}
    )
    asked.check(model)
    body = asked.llama_body()
    assert (body["n_predict"], body["temperature"], body["top_p"]) == (3, 1.0, 0.9)
    assert body["response_format"]["json_schema"]["schema"] == schema
