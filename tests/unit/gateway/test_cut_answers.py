"""How each dialect ends an answer that is cut."""

import json
from typing import Any

import pytest

from gateway.dialects.anthropic import Messages
from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.ollama import Ndjson, Progress
from gateway.dialects.openai import Completions, Responses
from gateway.dialects.stream import Stream
from tests.fakes.answers import ANSWERS, data, event
from tests.fakes.ollama import line

LIMIT = 1_000_000


def cut(dialect: type[Stream], *parts: bytes) -> bytes:
    """What ends an answer of which only `parts` have arrived."""
    stream = dialect(LIMIT)
    if hasattr(stream, "_unique"):
        stream._unique = b"same"
    for part in parts:
        assert stream.feed(part)
    return stream.cut()


def events_of(frames: bytes) -> list[Any]:
    """The decoded data of each event, the names of which must be those in the data."""
    found: list[Any] = []
    for text in frames.decode().removesuffix("\n\n").split("\n\n"):
        *name, content = text.split("\n")
        found.append(json.loads(content.removeprefix("data: ")) if content != "data: [DONE]" else "[DONE]")
        assert not name or name == [f"event: {found[-1]['type']}"]
    return found


def test_a_cut_answer_of_ollamas_ends_with_a_line_that_is_like_its_last_one() -> None:
    at = {"created_at": "2026-11-26T20:00:00Z"}
    end = {"model": "m", **at, "done": True, "done_reason": "length", "eval_count": 2}
    chat = cut(Ndjson, line("a"), line("b", **at))
    assert json.loads(chat) == {**end, "message": {"role": "assistant", "content": ""}}
    generated = b'{"model":"m","created_at":"2026-11-26T20:00:00Z","response":"a","done":false}\n'
    assert json.loads(cut(Ndjson, generated * 2)) == {**end, "response": ""}
    assert cut(Ndjson, line("a")).endswith(b"\n")


def test_a_cut_answer_of_chat_ends_with_the_next_event() -> None:
    frames = cut(ChatSSE, line("a"), line("b"))
    assert frames.startswith(b'id: 3\ndata: {"model":"m",')
    assert frames.endswith(b"\n\n")
    assert b'"done":true,"done_reason":"length"' in frames


def test_a_cut_completion_ends_with_a_chunk_like_the_others() -> None:
    last, done = events_of(cut(Completions, *ANSWERS["Completions"].parts[:2]))
    head = {"id": "chatcmpl-same", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    assert last == {**head, "choices": [{"delta": {}, "index": 0, "finish_reason": "length"}]}
    assert done == "[DONE]"
    head = {"id": "cmpl-7", "object": "text_completion", "created": 1, "model": "m"}
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    choice = {"text": "a", "index": 0, "finish_reason": None}
    last, done = events_of(cut(Completions, data({**head, "choices": [choice], "usage": zeros})))
    assert last["choices"] == [{"text": "", "index": 0, "finish_reason": "length"}]
    assert "usage" not in last


def test_a_completion_that_is_cut_after_its_last_chunk_keeps_its_reason() -> None:
    parts = ANSWERS["Completions"].parts
    assert cut(Completions, *parts[:3]) == b"data: [DONE]\n\n"
    usage_only = data({"id": "chatcmpl-7", "model": "m", "choices": [], "usage": {"prompt_tokens": 1}})
    assert cut(Completions, *parts[:3], usage_only) == b"data: [DONE]\n\n"


def test_zeros_before_the_last_chunk_of_a_completion_are_not_its_usage() -> None:
    stream = Completions(LIMIT)
    stream.feed(data({"model": "m", "usage": {"prompt_tokens": 0, "completion_tokens": 0}}))
    assert stream.usage is None


def test_a_cut_response_is_incomplete() -> None:
    (last,) = events_of(cut(Responses, *ANSWERS["Responses"].parts))
    assert (last["type"], last["sequence_number"]) == ("response.incomplete", 2)
    response = last["response"]
    assert (response["id"], response["status"], response["model"]) == ("same", "incomplete", "m")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


START = event({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 11}}})
OPENED = event({"type": "content_block_start", "index": 3, "content_block": {"type": "text", "text": ""}})
TEXT = event({"type": "content_block_delta", "index": 3, "delta": {"type": "text_delta", "text": "a"}})
CLOSED = event({"type": "content_block_stop", "index": 3})
PING = event({"type": "ping"})
ENDED = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}})


@pytest.mark.parametrize(
    ("parts", "is_open"),
    [
        ([START], False),
        ([START, OPENED], True),
        ([START, OPENED, TEXT, PING], True),
        ([START, OPENED, TEXT, CLOSED, PING], False),
    ],
)
def test_a_cut_message_closes_its_block_and_has_the_counted_usage(parts: list[bytes], is_open: bool) -> None:
    *closing, delta, stop = events_of(cut(Messages, *parts))
    assert closing == ([{"type": "content_block_stop", "index": 3}] if is_open else [])
    assert delta["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert delta["usage"] == {"input_tokens": 11, "output_tokens": len(parts)}
    assert stop == {"type": "message_stop"}


def test_a_message_that_is_cut_after_its_reason_keeps_it() -> None:
    assert events_of(cut(Messages, START, OPENED, TEXT, CLOSED, ENDED)) == [{"type": "message_stop"}]


def test_progress_cannot_be_cut() -> None:
    assert cut(Progress, b'{"status":"pulling"}\n') == b""
