"""OpenAI's requests as Ollama 0.32.15 takes them: what each case says was seen on one."""

from typing import Any

import pytest

from engine.api.openai.completion_requests import ChatCompletionRequest, CompletionRequest
from engine.errors import EngineError
from engine.models.catalogue import Catalogue
from engine.models.model import Model

PNG = "data:image/png;base64,aGVsbG8="
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"b": 1}'}}


@pytest.fixture
def model() -> Model:
    return Catalogue(None).scan()[0]


def chat(*messages: Any, **fields: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest({"model": "m", "messages": list(messages) or [{"content": "x"}], **fields})


def messages_of(**message: Any) -> list[dict[str, Any]]:
    return chat(message).messages


def refusal(**message: Any) -> str:
    with pytest.raises(EngineError) as caught:
        chat(message)
    assert caught.value.status == 400
    return caught.value.message


def test_each_part_of_a_message_is_a_message_of_its_own() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert [(m["role"], m["content"]) for m in messages_of(role="USER", content=parts)] == [
        ("user", "a"),
        ("user", "b"),
    ]


def test_a_role_may_be_missing_or_unknown() -> None:
    assert [
        message["role"] for message in (*messages_of(content="x"), *messages_of(role="zzz", content="x"))
    ] == [
        "",
        "zzz",
    ]


def test_a_tools_result_gets_the_name_of_its_call() -> None:
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    call, result = chat(asked, {"role": "tool", "tool_call_id": "a", "content": "4"}).messages
    assert call["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"b": 1}'}
    assert (result["name"], result["tool_call_id"], result["content"]) == ("f", "a", "4")


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"content": None}, "invalid message content type: <nil>"),
        ({}, "invalid message content type: <nil>"),
        ({"content": 5}, "invalid message content type: float64"),
        ({"content": {}}, "invalid message content type: map[string]interface {}"),
        ({"content": ["x"]}, "invalid message format"),
        ({"content": [{"type": "file"}]}, "invalid message format"),
        ({"content": [{"type": "text", "text": 5}]}, "invalid message format"),
        ({"content": [{"type": "image_url", "image_url": {"url": "data:zzz"}}]}, "invalid image input"),
        (
            {"content": [{"type": "image_url", "image_url": "https://x/y.png"}]},
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            {"content": [{"type": "input_audio", "input_audio": {"data": "!"}}]},
            "invalid input_audio base64 data: illegal base64 data at input byte 0",
        ),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
            "invalid tool call arguments",
        ),
        ({"tool_calls": [{"function": {"name": "f"}}]}, "invalid tool call arguments"),
    ],
)
def test_what_a_message_can_not_hold_is_refused(message: dict[str, Any], error: str) -> None:
    assert refusal(**message) == error


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "image_url", "image_url": PNG},
        {"type": "input_audio", "input_audio": {"data": "aGVsbG8=", "format": "wav"}},
    ],
)
def test_an_image_or_audio_is_refused_for_this_model(model: Model, part: dict[str, Any]) -> None:
    request = chat({"role": "user", "content": [{"type": "text", "text": "x"}, part]})
    with pytest.raises(EngineError, match="does not support images or audio") as caught:
        request.check(model)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"messages": []}, "[] is too short - 'messages'"),
        (
            {"seed": 1.5},
            "json: cannot unmarshal number 1.5 into Go struct field ChatCompletionRequest.seed of type int",
        ),
        (
            {"seed": 10**20},
            "json: cannot unmarshal number 100000000000000000000 into Go struct field "
            "ChatCompletionRequest.seed of type int",
        ),
        (
            {"response_format": "json"},
            "json: cannot unmarshal string into Go struct field ChatCompletionRequest.response_format "
            "of type openai.ResponseFormat",
        ),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        (
            {"reasoning_effort": "bogus"},
            'invalid reasoning value: "bogus" (must be "minimal", "low", "medium", "high", "xhigh", "ultra", '
            '"max", or "none")',
        ),
    ],
)
def test_a_malformed_request_is_refused_in_ollamas_words(fields: dict[str, Any], error: str) -> None:
    with pytest.raises(EngineError) as caught:
        chat(**fields)
    assert (caught.value.message, caught.value.status) == (error, 400)


@pytest.mark.parametrize("effort", ["minimal", "low", "high", "xhigh"])
def test_an_effort_is_refused_for_a_model_that_does_not_think(model: Model, effort: str) -> None:
    for fields in ({"reasoning_effort": effort}, {"reasoning": {"effort": effort}}):
        with pytest.raises(EngineError, match='"m" does not support thinking') as caught:
            chat(**fields).check(model)
        assert caught.value.status == 400
    chat(reasoning_effort="none").check(model)
    chat(reasoning_effort="").check(model)


def test_llama_cpp_gets_ollamas_defaults_and_openais(model: Model) -> None:
    request = chat(max_tokens=5, stop="a", frequency_penalty=0.5)
    request.check(model)
    body = request.llama_body()
    assert (body["temperature"], body["top_p"], body["min_p"], body["top_k"]) == (1.0, 1.0, 0.0, 40)
    assert (body["n_predict"], body["stop"], body["frequency_penalty"]) == (5, ["a"], 0.5)


def test_what_could_change_the_engines_own_ways_is_not_passed_on(model: Model) -> None:
    request = chat(n=3, id_slot=1, return_progress=False, stop=[5, "a"], logit_bias="x")
    request.check(model)
    assert not {"n", "id_slot", "return_progress", "logit_bias"} & set(request.llama_body())
    assert request.llama_body()["stop"] == ["a"]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}},
            {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}},
        ),
        ({"type": "json_schema"}, None),
        ({"type": "text"}, None),
        ({"type": "zzz"}, None),
    ],
)
def test_a_response_format_is_one_of_ollamas(model: Model, given: Any, sent: Any) -> None:
    request = chat(response_format=given)
    request.check(model)
    assert request.llama_body().get("response_format") == sent


def test_a_completion_is_a_prompt_for_ollamas_generate(model: Model) -> None:
    request = CompletionRequest({"MODEL": "m", "Prompt": "Hi", "top_p": 0, "echo": True})
    request.check(model)
    assert request.template_body()["messages"] == [{"role": "user", "content": "Hi"}]
    body = request.llama_body([1])
    assert (body["top_p"], body["temperature"], request.stream) == (1.0, 1.0, False)


def test_a_suffix_is_refused_for_a_model_that_can_not_insert(model: Model) -> None:
    with pytest.raises(EngineError, match="does not support insert") as caught:
        CompletionRequest({"model": "m", "prompt": "x", "suffix": "y"}).check(model)
    assert caught.value.status == 400


def test_a_completion_checks_the_types_of_its_fields() -> None:
    for fields, error in (
        ({"stop": [5]}, "invalid type for 'stop' field: float64"),
        ({"prompt": ["a"]}, "cannot unmarshal array into Go struct field CompletionRequest.prompt"),
        ({"logprobs": True}, "cannot unmarshal bool into Go struct field CompletionRequest.logprobs"),
    ):
        with pytest.raises(EngineError, match=error):
            CompletionRequest({"model": "m", "prompt": "x", **fields})
