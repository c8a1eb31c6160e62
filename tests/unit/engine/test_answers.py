"""llama.cpp's chunks in each dialect, whole and as a stream."""

import json
from typing import Any

import pytest

from engine.api.anthropic.answers import MessagesAnswer
from engine.api.anthropic.requests import MessagesRequest
from engine.api.ollama.answers import ChatLines, GenerateLines
from engine.api.ollama.requests import ChatRequest, GenerateRequest
from engine.api.openai.completion_answers import ChatCompletion, TextCompletion
from engine.api.openai.completion_requests import ChatCompletionRequest, CompletionRequest
from engine.errors import EngineError
from engine.inference.message import Message, chat_chunk

TIMINGS = {"cache_n": 3, "prompt_n": 4, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 2.25}
HEAD = {"id": "x", "object": "chat.completion.chunk", "created": 1}


def chunk(delta: dict[str, Any], finish: str | None = None, **rest: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **rest}


def call(index: int, arguments: str, **head: str) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": head["name"]} if "name" in head else {})
    part: dict[str, Any] = {"index": index, "function": function}
    return {"tool_calls": [part | ({"id": head["id"]} if "id" in head else {})]}


TEXT = [
    chunk({"role": "assistant", "content": None}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk({}, "length", timings=TIMINGS),
]
THOUGHT = [chunk({"reasoning_content": "hm"}), *TEXT[1:3], chunk({}, "stop", timings=TIMINGS)]
TOOLS = [
    chunk(call(0, "", name="f", id="c0")),
    chunk(call(0, '{"a"')),
    chunk(call(0, ":1}")),
    chunk(call(1, "{}", name="g", id="c1")),
    chunk({}, "tool_calls", timings=TIMINGS),
]


def chat_lines(**fields: Any) -> ChatLines:
    return ChatLines(ChatRequest({"model": "m", "messages": [{}], **fields}))


def ndjson(lines: ChatLines | GenerateLines, chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    data = b"".join(lines.feed(chunk) for chunk in chunks)
    return [json.loads(line) for line in data.decode().split("\n")[:-1]]


def events(
    answer: ChatCompletion | TextCompletion | MessagesAnswer, chunks: list[dict[str, Any]]
) -> list[Any]:
    data = b"".join(answer.feed(chunk) for chunk in chunks).decode()
    payloads = [line[6:] for line in data.split("\n") if line.startswith("data: ")]
    return [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]


def test_each_token_is_a_line_and_the_last_line_has_the_numbers() -> None:
    first, second, last = ndjson(chat_lines(), TEXT)
    assert first["message"] == {"role": "assistant", "content": "Hel"}
    assert list(first) == ["model", "created_at", "message", "done"]
    assert second["done"] is False
    assert last["message"]["content"] == ""
    assert (last["done"], last["done_reason"]) == (True, "length")
    assert last["prompt_eval_count"] == 7
    assert last["prompt_eval_duration"] == 1_500_000
    assert last["eval_count"] == 2
    assert last["eval_duration"] == 2_250_000
    assert last["total_duration"] > 0


def test_numbers_that_are_zero_are_left_out() -> None:
    timings = {"cache_n": 0, "prompt_n": 0, "prompt_ms": 0, "predicted_n": 0, "predicted_ms": 0}
    (last,) = ndjson(chat_lines(), [chunk({}, "stop", timings=timings)])
    absent = {"load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"}
    assert not absent & set(last)


def test_an_answer_as_a_whole_has_the_text_of_all_lines() -> None:
    lines = chat_lines(stream=False)
    ndjson(lines, THOUGHT)
    whole = lines.whole()
    assert whole["message"] == {"role": "assistant", "content": "Hello", "thinking": "hm"}
    assert (whole["done"], whole["done_reason"], whole["eval_count"]) == (True, "stop", 2)


def test_a_tool_call_leaves_whole_and_with_an_object_for_arguments() -> None:
    calls, last = ndjson(chat_lines(), TOOLS)
    assert [c["function"] for c in calls["message"]["tool_calls"]] == [
        {"index": 0, "name": "f", "arguments": {"a": 1}},
        {"index": 1, "name": "g", "arguments": {}},
    ]
    assert last["done_reason"] == "stop"


def test_log_probabilities_have_ollamas_fields_only() -> None:
    entry = {"id": 5, "token": "Hel", "logprob": -1.5, "bytes": [72], "top_logprobs": []}
    entry["top_logprobs"] = [{k: v for k, v in entry.items() if k != "top_logprobs"}] * 3
    one = {**TEXT[1], "choices": [{**TEXT[1]["choices"][0], "logprobs": {"content": [entry]}}]}
    (line,) = ndjson(chat_lines(logprobs=True), [one])
    assert line["logprobs"] == [{"token": "Hel", "logprob": -1.5, "bytes": [72]}]
    (line,) = ndjson(chat_lines(logprobs=True, top_logprobs=2), [one])
    assert [list(other) for other in line["logprobs"][0]["top_logprobs"]] == [
        ["token", "logprob", "bytes"]
    ] * 2


def test_generate_has_its_text_in_response_and_its_context_in_the_last_line() -> None:
    lines = GenerateLines(GenerateRequest({"model": "m", "prompt": "x"}))
    first = chat_chunk({"content": "Hi", "stop": False, "stop_type": None})
    last = chat_chunk({"content": "", "stop": True, "stop_type": "eos", "timings": TIMINGS})
    written = ndjson(lines, [first, {**last, "context": [1, 2]}])
    assert (written[0]["response"], written[1]["response"]) == ("Hi", "")
    assert written[1]["context"] == [1, 2]
    assert written[1]["done_reason"] == "stop"
    assert lines.whole()["response"] == "Hi"


@pytest.mark.parametrize(("stop_type", "reason"), [("limit", "length"), ("eos", "stop"), ("word", "stop")])
def test_why_a_completion_ended_is_told_in_chat_words(stop_type: str, reason: str) -> None:
    ended = chat_chunk({"content": "", "stop": True, "stop_type": stop_type})
    assert ended["choices"][0]["finish_reason"] == reason


def test_of_an_answer_that_is_cut_off_the_chunks_are_counted() -> None:
    message = Message()
    for part in TEXT[1:3]:
        message.add(part)
    assert message.output_tokens == 2


QUESTION = [{"role": "user", "content": "x"}]


def completion(**fields: Any) -> ChatCompletion:
    return ChatCompletion(ChatCompletionRequest({"model": "m", "messages": QUESTION, **fields}))


def test_openai_chunks_carry_the_name_that_was_asked_for() -> None:
    first, second, finish, done = events(completion(model="M:x", stream=True), TEXT)
    assert {part["model"] for part in (first, second, finish)} == {"M:x"}
    assert {part["id"] for part in (first, second, finish)} == {first["id"]}
    assert first["id"].startswith("chatcmpl-")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "Hel"}
    assert second["choices"][0]["delta"] == {"content": "lo"}
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert done == "[DONE]"


USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def test_openai_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    *_, usage, done = events(completion(stream=True, stream_options={"include_usage": True}), TEXT)
    assert usage["choices"] == []
    assert usage["usage"] == USAGE | {"prompt_tokens_details": {"cached_tokens": 3}}
    assert done == "[DONE]"


def test_an_openai_answer_as_a_whole() -> None:
    answer = completion()
    events(answer, [*THOUGHT[:-1], *TOOLS])
    whole = answer.whole()
    (choice,) = whole["choices"]
    assert whole["object"] == "chat.completion"
    assert choice["message"]["content"] == "Hello"
    assert choice["message"]["reasoning"] == "hm"
    assert [c["function"]["arguments"] for c in choice["message"]["tool_calls"]] == ['{"a":1}', "{}"]
    assert [c["index"] for c in choice["message"]["tool_calls"]] == [0, 1]
    assert choice["finish_reason"] == "tool_calls"
    assert whole["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


def test_openai_tool_calls_leave_whole_and_before_the_finish() -> None:
    calls, finish, _ = events(completion(stream=True), TOOLS)
    assert [c["function"]["name"] for c in calls["choices"][0]["delta"]["tool_calls"]] == ["f", "g"]
    assert finish["choices"][0]["finish_reason"] == "tool_calls"


def test_openai_reasoning_has_ollamas_name_in_a_stream() -> None:
    first, second, *_ = events(completion(stream=True), THOUGHT)
    delta = {"role": "assistant", "content": "", "reasoning": "hm"}
    assert first["choices"][0]["delta"] == delta
    assert second["choices"][0]["delta"] == {"content": "Hel"}


def test_an_openai_answer_without_a_word_opens_with_the_role() -> None:
    first, finish, _ = events(completion(stream=True), [chunk({}, "stop", timings=TIMINGS)])
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert finish["choices"][0]["finish_reason"] == "stop"


def test_a_text_completion_has_an_id_of_its_kind_and_usage_in_each_chunk() -> None:
    options = {"include_usage": True}
    request = CompletionRequest({"model": "m", "prompt": "x", "stream": True, "stream_options": options})
    completed = [
        chat_chunk({"content": "Hi", "stop": False, "stop_type": None}),
        chat_chunk({"content": "", "stop": True, "stop_type": "limit", "timings": TIMINGS}),
    ]
    first, finish, last, done = events(TextCompletion(request), completed)
    assert first["id"].startswith("cmpl-")
    assert first["choices"] == [{"text": "Hi", "index": 0, "finish_reason": None}]
    assert first["usage"]["total_tokens"] == 0
    assert finish["choices"] == [{"text": "", "index": 0, "finish_reason": "length"}]
    assert (last["choices"], last["usage"]["total_tokens"], done) == ([], 9, "[DONE]")


def test_a_call_that_was_cut_off_is_an_error_that_says_so() -> None:
    cut = [TOOLS[0], TOOLS[1], chunk({}, "length", timings=TIMINGS)]
    with pytest.raises(EngineError, match="arguments of the call to 'f' are incomplete"):
        ndjson(chat_lines(), cut)


def test_what_only_loads_is_one_object_without_numbers() -> None:
    lines = ChatLines(ChatRequest({"model": "m"}))
    ndjson(lines, [chunk({}, "load", timings={"predicted_n": 0})])
    assert not lines.stream
    assert list(lines.whole()) == ["model", "created_at", "message", "done", "done_reason"]


def anthropic(**fields: Any) -> MessagesAnswer:
    messages = fields.pop("messages", [{"role": "user", "content": "x"}])
    request = MessagesRequest({"model": "m", "max_tokens": 5, "messages": messages, **fields})
    return MessagesAnswer(request)


def test_anthropic_events_come_in_their_order() -> None:
    written = events(anthropic(stream=True), THOUGHT)
    assert [event["type"] for event in written] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [event["index"] for event in written if "index" in event] == [0, 0, 0, 1, 1, 1, 1]
    assert written[-2]["delta"]["stop_reason"] == "end_turn"
    assert written[-2]["usage"] == {"input_tokens": 7, "output_tokens": 2}


def test_anthropic_tool_calls_are_blocks() -> None:
    answer = anthropic(stream=True)
    written = events(answer, TOOLS)
    blocks = [event["content_block"] for event in written if event["type"] == "content_block_start"]
    assert [(block["name"], block["input"]) for block in blocks] == [("f", {}), ("g", {})]
    whole = answer.whole()
    assert [(block["name"], block["input"]) for block in whole["content"]] == [("f", {"a": 1}), ("g", {})]
    assert whole["stop_reason"] == "tool_use"
