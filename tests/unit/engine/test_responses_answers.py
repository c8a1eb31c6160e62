import json
from typing import Any

from engine.api.openai.responses_answers import ResponsesAnswer
from engine.api.openai.responses_requests import ResponsesRequest
from engine.inference.message import Chunk

TIMINGS = {"cache_n": 1, "prompt_n": 4, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 2.25}


def chunk(delta: dict[str, Any], finish: str | None = None) -> Chunk:
    timings = {"timings": TIMINGS} if finish else {}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **timings}


TEXT = [chunk({"role": "assistant", "content": None}), chunk({"content": "H"}), chunk({"content": "i"})]
CALL = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":1}'}}


def answer(**fields: Any) -> ResponsesAnswer:
    return ResponsesAnswer(ResponsesRequest({"model": "m", "input": "hi", **fields}))


def events_of(answer: ResponsesAnswer, *chunks: Chunk) -> list[dict[str, Any]]:
    frames = b"".join(answer.feed(chunk) for chunk in chunks).split(b"\n\n")[:-1]
    events = [json.loads(frame.split(b"data: ")[1]) for frame in frames]
    named = [frame.split(b"\n")[0] for frame in frames]
    assert named == [f"event: {event['type']}".encode() for event in events]
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_events_come_in_openais_order_and_are_numbered() -> None:
    events = events_of(answer(stream=True), *TEXT, chunk({}, "stop"))
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert {event["item_id"] for event in events if "item_id" in event} == {events[2]["item"]["id"]}
    assert (events[4]["output_index"], events[4]["content_index"]) == (0, 0)


def test_the_end_has_the_whole_answer_and_what_it_has_cost() -> None:
    response = answer(model="M:x", instructions="be short", temperature=0.5)
    last = events_of(response, *TEXT, chunk({}, "length"))[-1]["response"]
    assert (last["model"], last["instructions"], last["temperature"]) == ("M:x", "be short", 0.5)
    assert last["status"] == "completed"
    assert last["output"][0]["content"][0]["text"] == "Hi"
    assert last["usage"]["input_tokens"] == 5
    assert last["usage"]["input_tokens_details"] == {"cached_tokens": 1}
    assert response.whole()["output"] == last["output"]


def test_thoughts_and_calls_are_items_of_their_own() -> None:
    thought = chunk({"reasoning_content": "hm"})
    events = events_of(answer(), thought, chunk({"tool_calls": [CALL]}), chunk({}, "tool_calls"))
    assert kinds(events)[2:] == [
        "output_item.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    reasoning, call = events[-1]["response"]["output"]
    assert (reasoning["type"], reasoning["encrypted_content"]) == ("reasoning", "hm")
    assert (call["call_id"], call["name"], call["arguments"]) == ("c1", "f", '{"a":1}')


def test_an_answer_without_a_word_is_a_message_all_the_same() -> None:
    events = events_of(answer(), chunk({}, "load"))
    (item,) = events[-1]["response"]["output"]
    assert (item["type"], item["content"][0]["text"]) == ("message", "")
