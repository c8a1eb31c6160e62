import json
from typing import Any

import pytest

from engine.api.ollama.requests import ChatRequest, GenerateRequest
from engine.errors import EngineError
from engine.models.catalogue import Catalogue
from engine.models.model import Model


@pytest.fixture
def model() -> Model:
    return Catalogue(None).scan()[0]


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest({"model": "m", **fields})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (None, "model is required"),
        ({"model": 5}, "json: cannot unmarshal number into Go struct field ChatRequest.model of type string"),
        (
            {"model": "m", "messages": "x"},
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type []api.Message",
        ),
        (
            {"model": "m", "messages": ["x"]},
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type api.Alias",
        ),
        (
            {"model": "m", "messages": [{"content": 5}]},
            "json: cannot unmarshal number into Go struct field ChatRequest.messages.content of type string",
        ),
        ({"model": "m", "messages": [{"images": ["!"]}]}, "illegal base64 data at input byte 0"),
        (
            {"model": "m", "stream": "yes"},
            "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool",
        ),
        ({"model": "m", "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        (
            {"model": "m", "think": 5},
            'think must be a boolean or string ("high", "medium", "low", "max", true, or false)',
        ),
        (
            {"model": "m", "think": "bogus"},
            'invalid think value: "bogus" (must be "high", "medium", "low", "max", true, or false)',
        ),
        ({"model": "m", "keep_alive": "bogus"}, 'time: invalid duration "bogus"'),
    ],
)
def test_a_malformed_chat_is_refused_in_ollamas_words(body: Any, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        ChatRequest(body)
    assert (caught.value.message, caught.value.status) == (message, 400)


def test_nulls_mean_the_same_as_leaving_out() -> None:
    request = chat(messages=None, stream=None, options=None, format=None, think=None, keep_alive=None)
    assert (request.messages, request.stream, request.keep_alive) == ([], True, None)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"tools": [{}]}, 400, "registry.ollama.ai/library/smollm2:135m does not support tools"),
        ({"think": True}, 400, '"m" does not support thinking'),
        ({"options": {"seed": "x"}}, 500, 'option "seed" must be of type integer'),
    ],
)
def test_what_the_model_can_not_do_is_refused(
    model: Model, fields: dict[str, Any], status: int, message: str
) -> None:
    with pytest.raises(EngineError) as caught:
        chat(**fields).check(model)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("json", {"type": "json_object"}),
        ({"type": "object"}, {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}),
        ("", None),
    ],
)
def test_a_format_becomes_a_response_format(model: Model, given: Any, sent: Any) -> None:
    request = chat(format=given)
    request.check(model)
    assert request.llama_body().get("response_format") == sent


def test_an_unknown_format_is_refused_in_ollamas_words(model: Model) -> None:
    request = chat(format="xml")
    request.check(model)
    with pytest.raises(EngineError) as caught:
        request.llama_body()
    assert (
        caught.value.message == 'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object'
    )
    assert caught.value.status == 500


def test_tool_calls_and_thoughts_of_a_conversation_take_openais_form() -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
    request = chat(
        messages=[
            {"role": "assistant", "thinking": "hm", "tool_calls": [call]},
            {"role": "tool", "content": "4", "tool_name": "f", "tool_call_id": "c1"},
        ]
    )
    (message, result) = request.messages
    assert message["reasoning_content"] == "hm"
    function = message["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("f", {"a": 1})
    assert result == {"role": "tool", "content": "4", "name": "f", "tool_call_id": "c1"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"raw": True, "system": "x"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "context": [1]}, "raw mode does not support template, system, or context"),
        ({"suffix": "x"}, "registry.ollama.ai/library/smollm2:135m does not support insert"),
        ({"template": "{{ .Prompt }}"}, "template is not supported: the model's own is always used"),
    ],
)
def test_what_generate_can_not_do_is_refused(model: Model, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError) as caught:
        GenerateRequest({"model": "m", "prompt": "x", **fields}).check(model)
    assert (caught.value.status, caught.value.message) == (400, message)


def test_generate_puts_the_system_prompt_first(model: Model) -> None:
    request = GenerateRequest({"model": "m", "prompt": "x", "system": "be short"})
    request.check(model)
    assert [message["role"] for message in request.template_body()["messages"]] == ["system", "user"]


def generate(model: Model, **fields: Any) -> GenerateRequest:
    request = GenerateRequest({"model": "m", "prompt": "x", **fields})
    request.check(model)
    return request


# Ollama 0.32.15 in each case, with a context of 512.
@pytest.mark.parametrize(
    ("count", "keep", "ends"),
    [
        (511, 4, (511, 0)),
        (512, 4, (4, 254)),
        (20_000, 4, (4, 254)),
        (600, 100, (100, 206)),
        (600, -1, (511, 0)),
    ],
)
def test_a_prompt_that_fills_the_context_leaves_half_of_it_for_the_answer(
    model: Model, count: int, keep: int, ends: tuple[int, int]
) -> None:
    assert generate(model, options={"num_keep": keep}).fit_prompt(count, 512) == ends


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"truncate": False}, r"request \(600 tokens\) exceeds the available context size \(512 tokens\)"),
        ({"shift": False}, "the prompt is longer than the context length currently available"),
    ],
)
def test_a_prompt_that_may_not_be_shortened_is_refused(
    model: Model, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        generate(model, **fields).fit_prompt(600, 512)


IMAGE = "aGVsbG8="


@pytest.mark.parametrize("images", [[IMAGE], [""]])
def test_an_image_is_refused_and_not_left_out(model: Model, images: list[str]) -> None:
    for request in (
        chat(messages=[{"role": "user", "content": "x", "images": images}]),
        GenerateRequest({"model": "m", "prompt": "x", "images": images}),
    ):
        with pytest.raises(EngineError) as caught:
            request.check(model)
        assert caught.value.status == 400
        assert caught.value.message.endswith("does not support images or audio")


def test_names_of_fields_are_matched_without_regard_to_case(model: Model) -> None:
    call = {"Function": {"NAME": "f", "Arguments": {"Kept": 1}}}
    request = ChatRequest(
        {
            "MODEL": "m",
            "Stream": False,
            "Messages": [{"ROLE": "ASSISTANT", "Content": "x", "Tool_Calls": [call]}],
            "Options": {"num_predict": 3, "NUM_PREDICT": 9},
        }
    )
    request.check(model)
    assert (request.model, request.stream) == ("m", False)
    (message,) = request.messages
    assert (message["role"], message["content"]) == ("assistant", "x")
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"Kept": 1}'}
    # The options are no fields to Go, but a map.
    assert request.llama_body()["n_predict"] == 3


def test_of_two_spellings_the_last_that_says_something_counts() -> None:
    assert ChatRequest({"model": "a", "Model": "b", "MODEL": None}).model == "b"


def test_an_effort_reaches_the_template() -> None:
    arguments = chat(messages=[{}], think="high").template_body()["chat_template_kwargs"]
    assert arguments == {"enable_thinking": True, "reasoning_effort": "high"}
