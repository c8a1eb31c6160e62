"""OpenAI's responses, without I/O: llama.cpp's own events, completed to what OpenAI's clients read."""

import time
from typing import Any

from . import wire
from .catalogue import Model
from .errors import BadRequestError
from .fields import Fields, checked
from .message import Chunk, Message

Body = dict[str, Any]

_FIELDS: Fields = {"model": "string", "stream": "bool", "max_output_tokens": "int", "tools": "[]api.Tool"}
_PASSED = {
    "input",
    "instructions",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "text",
}


class Responses:
    """A request and its answer."""

    media_type = "text/event-stream"
    path = "/v1/responses"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _FIELDS, "Go value of type openai.ResponsesRequest", "ResponsesRequest")
        self.message = Message()
        self.model: str = body.get("model", "")
        self.stream: bool = body.get("stream", False)
        self._body = body
        self._created = int(time.time())
        self._events = 0
        self._items = -1
        self._response: Body = {}
        if not self.model:
            raise BadRequestError("model is required")

    def check(self, model: Model) -> None:
        if self._body.get("tools") and "tools" not in model.capabilities:
            raise BadRequestError(f"{model.name.full} does not support tools")

    def llama(self) -> Body:
        return {name: value for name, value in self._body.items() if name in _PASSED}

    def feed(self, chunk: Chunk) -> bytes:
        kind = chunk["type"]
        if kind == "response.output_item.added":
            self._items += 1
        elif kind == "response.output_text.delta":
            self.message.chunks += 1
        elif kind == "response.completed":
            self.message.finish_reason = "stop"
            self.message.timings = chunk["timings"]
        if kind != "response.created":
            return self._event(chunk)
        # llama.cpp's own reports of progress stand in the second one's place, and are not passed on.
        return self._event(chunk) + self._event({**chunk, "type": "response.in_progress"})

    def whole(self) -> Body:
        return self._response

    def _event(self, chunk: Chunk) -> bytes:
        event = {name: value for name, value in chunk.items() if name != "timings"}
        event["sequence_number"] = self._events
        self._events += 1
        if "response" in event:
            known = {"created_at": self._created, "output": [], "parallel_tool_calls": True}
            self._response = {**known, "tools": [], "tool_choice": "auto", **event["response"]}
            event["response"] = self._response = {**self._response, "model": self.model}
        else:
            event["output_index"] = self._items
        if "item_id" in event:
            event["content_index"] = 0
        if "output_text" in event["type"]:
            event["logprobs"] = []
        return f"event: {event['type']}\n".encode() + b"data: " + wire.dumps(event) + b"\n\n"
