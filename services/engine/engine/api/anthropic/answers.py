"""Renders answers of /v1/messages. No I/O: llama.cpp's chunks in, events out."""

from typing import Any
from uuid import uuid4

from ...inference.message import Chunk, Message, call_arguments
from ..gojson import codec
from .requests import MessagesRequest

Body = dict[str, Any]

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class MessagesAnswer:
    """An answer is a list of content blocks: thinking, text, tool calls."""

    media_type = "text/event-stream"

    def __init__(self, request: MessagesRequest) -> None:
        self.message = Message()
        self.stream = request.stream
        self._head: Body = {
            "id": f"msg_{uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": request.model,
        }
        self._started = False
        self._index = -1
        self._open: str | None = None

    def feed(self, chunk: Chunk) -> bytes:
        new = self.message.add(chunk)
        events = []
        if new.thinking:
            events += self._delta("thinking", "thinking", new.thinking)
        if new.text:
            events += self._delta("text", "text", new.text)
        if new.finish_reason:
            events += self._end()
        if events and not self._started:
            self._started = True
            message = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None}
            usage = {"input_tokens": self.message.prompt_tokens, "output_tokens": 0}
            events.insert(0, {"type": "message_start", "message": {**message, "usage": usage}})
        return b"".join(_event(event) for event in events)

    def whole(self) -> Body:
        message = self.message
        content: list[Body] = []
        if message.thinking:
            content.append({"type": "thinking", "thinking": message.thinking})
        if message.text:
            content.append({"type": "text", "text": message.text})
        content += [{**_tool_use(call), "input": call_arguments(call)} for call in message.tool_calls]
        return {**self._head, "content": content, **self._stop(), "usage": self._usage()}

    def _delta(self, kind: str, name: str, text: str) -> list[Body]:
        opening = [] if self._open == kind else [*self._close(), *self._begin({"type": kind, name: ""})]
        delta = {"type": f"{kind}_delta", name: text}
        return [*opening, {"type": "content_block_delta", "index": self._index, "delta": delta}]

    def _begin(self, block: Body) -> list[Body]:
        self._index += 1
        self._open = block["type"]
        return [{"type": "content_block_start", "index": self._index, "content_block": block}]

    def _close(self) -> list[Body]:
        if self._open is None:
            return []
        self._open = None
        return [{"type": "content_block_stop", "index": self._index}]

    def _end(self) -> list[Body]:
        """Tool calls are sent here, complete, as Ollama sends them."""
        events = self._close()
        for call in self.message.tool_calls:
            events += self._begin({**_tool_use(call), "input": {}})
            delta = {"type": "input_json_delta", "partial_json": call["function"]["arguments"]}
            events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
            events += self._close()
        events.append({"type": "message_delta", "delta": self._stop(), "usage": self._usage()})
        return [*events, {"type": "message_stop"}]

    def _stop(self) -> Body:
        reason = _STOP_REASONS.get(self.message.finish_reason or "", "stop_sequence")
        return {"stop_reason": reason, "stop_sequence": None}

    def _usage(self) -> Body:
        return {"input_tokens": self.message.prompt_tokens, "output_tokens": self.message.output_tokens}


def _tool_use(call: Body) -> Body:
    return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"]}


def _event(value: Body) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + codec.encode(value) + b"\n\n"
