"""The fake's answers, as Ollama sends them."""

import json
from typing import Any


def compact(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def data(fields: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % compact(fields)


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\n%b" % (kind.encode(), data({"type": kind, **fields}))


def generated(text: str, **fields: Any) -> bytes:
    return compact({"model": "m", "response": text, "done": False, **fields}) + b"\n"


def chat_chunk(reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": "", **delta}, "finish_reason": reason}
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data({**head, "choices": [choice]})


def completion_chunk(text: str, reason: str | None = None) -> bytes:
    choice = {"text": text, "index": 0, "finish_reason": reason}
    head = {"id": "cmpl-7", "object": "text_completion", "created": 1}
    return data({**head, "choices": [choice], "model": "m"})


def response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "resp_7", "object": "response", "created_at": 1, "model": "m", "tools": []}
    return {**head, "status": status, "output": list(output), "error": None, "parallel_tool_calls": True}


def response_item(text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if text else []
    return {"id": "msg_7", "type": "message", "role": "assistant", "status": status, "content": content}


def response_event(number: int, kind: str, **fields: Any) -> bytes:
    return event(f"response.{kind}", sequence_number=number, **fields)


def text_event(number: int, kind: str, **fields: Any) -> bytes:
    place = {"item_id": "msg_7", "output_index": 0, "content_index": 0}
    return response_event(number, kind, **place, **fields)


PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}

RESPONSE = (
    response_event(0, "created", response=response("in_progress")),
    response_event(1, "output_item.added", output_index=0, item=response_item("", "in_progress")),
    text_event(2, "content_part.added", part=PART),
    text_event(3, "output_text.delta", delta="Hel", logprobs=[]),
    text_event(4, "output_text.delta", delta="lo", logprobs=[]),
    text_event(5, "output_text.done", text="Hello", logprobs=[]),
    text_event(6, "content_part.done", part={**PART, "text": "Hello"}),
    response_event(7, "output_item.done", output_index=0, item=response_item("Hello", "completed")),
    response_event(8, "completed", response=response("completed", response_item("Hello", "completed"))),
)


def message_start() -> bytes:
    message = {"id": "msg_7", "type": "message", "role": "assistant", "model": "m", "content": []}
    return event("message_start", message={**message, "usage": {"input_tokens": 11, "output_tokens": 0}})


def message_end(reason: str) -> bytes:
    usage = {"input_tokens": 11, "output_tokens": 3}
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


MESSAGE = (
    message_start(),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo"}),
    event("content_block_stop", index=0),
    message_end("end_turn"),
    event("message_stop"),
)

REASON = "out of memory"
NATIVE_ERROR = compact({"error": REASON}) + b"\n"
OPENAI_ERROR = data({"error": {"message": REASON, "type": "api_error", "param": None, "code": None}})
