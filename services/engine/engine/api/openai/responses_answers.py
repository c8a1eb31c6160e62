"""Renders answers of /v1/responses. No I/O: llama.cpp's chunks in, events out."""

import time
from typing import Any
from uuid import uuid4

from ...inference.message import Chunk, Message
from ..gojson import codec
from .responses_requests import ResponsesRequest

Body = dict[str, Any]


class ResponsesAnswer:
    """An answer is a list of items: first the reasoning, then the text, then the tool calls."""

    media_type = "text/event-stream"

    def __init__(self, request: ResponsesRequest) -> None:
        self.message = Message()
        self.stream = request.stream
        self._echo = _echo(request)
        self._id = uuid4().hex
        self._created = int(time.time())
        self._events = 0
        self._output: list[Body] = []
        self._open: Body | None = None

    def feed(self, chunk: Chunk) -> bytes:
        new = self.message.add(chunk)
        has_content = new.thinking or new.text or new.finish_reason
        events = self._begin() if has_content and not self._events else []
        if new.thinking:
            events += self._add_reasoning(new.thinking)
        if new.text:
            events += self._add_text(new.text)
        if new.finish_reason:
            events += self._end()
        return b"".join(self._event(event) for event in events)

    def whole(self) -> Body:
        return self._response("completed", self._output)

    def _begin(self) -> list[Body]:
        response = self._response("in_progress", [])
        return [{"type": f"response.{state}", "response": response} for state in ("created", "in_progress")]

    def _add_reasoning(self, text: str) -> list[Body]:
        opening = []
        if not self._open:
            item = {"id": f"rs_{self._id}", "type": "reasoning", "summary": []}
            opening = self._start(item, {"summary_index": 0})
        return [*opening, self._part("reasoning_summary_text.delta", delta=text)]

    def _add_text(self, text: str) -> list[Body]:
        opening = []
        if not self._open or self._open["item"]["type"] != "message":
            item = {"id": f"msg_{self._id}", "type": "message", "status": "in_progress", "role": "assistant"}
            opening = [*self._close(), *self._start({**item, "content": []}, {"content_index": 0})]
            opening.append(self._part("content_part.added", part=_text("")))
        return [*opening, self._part("output_text.delta", delta=text, logprobs=[])]

    def _start(self, item: Body, index: Body) -> list[Body]:
        position = {"output_index": len(self._output)}
        self._open = {"item": item, "position": {"item_id": item["id"], **position, **index}}
        return [{"type": "response.output_item.added", **position, "item": item}]

    def _part(self, kind: str, **fields: object) -> Body:
        assert self._open
        return {"type": f"response.{kind}", **self._open["position"], **fields}

    def _close(self) -> list[Body]:
        if not self._open:
            return []
        item = self._open["item"]
        if item["type"] == "reasoning":
            thinking = self.message.thinking
            done = [self._part("reasoning_summary_text.done", text=thinking)]
            item = item | {"summary": [{"type": "summary_text", "text": thinking}]}
            item["encrypted_content"] = thinking
        else:
            text = self.message.text
            done = [self._part("output_text.done", text=text, logprobs=[])]
            done.append(self._part("content_part.done", part=_text(text)))
            item = item | {"status": "completed", "content": [_text(text)]}
        self._open = None
        return [*done, self._finish(item)]

    def _finish(self, item: Body) -> Body:
        self._output.append(item)
        return {"type": "response.output_item.done", "output_index": len(self._output) - 1, "item": item}

    def _end(self) -> list[Body]:
        """Calls are sent here, complete, as Ollama sends them."""
        events = self._close()
        for number, call in enumerate(self.message.tool_calls):
            events += self._call(f"fc_{self._id}_{number}", call)
        if all(item["type"] == "reasoning" for item in self._output):
            # An empty answer still has a message.
            events += [*self._add_text(""), *self._close()]
        return [*events, {"type": "response.completed", "response": self.whole()}]

    def _call(self, item_id: str, call: Body) -> list[Body]:
        function = call["function"]
        arguments = function["arguments"]
        item = {"id": item_id, "type": "function_call", "status": "completed", "call_id": call["id"]}
        item |= {"name": function["name"], "arguments": arguments}
        position = {"output_index": len(self._output)}
        part = {"item_id": item_id, **position}
        added = item | {"status": "in_progress", "arguments": ""}
        return [
            {"type": "response.output_item.added", **position, "item": added},
            {"type": "response.function_call_arguments.delta", **part, "delta": arguments},
            {"type": "response.function_call_arguments.done", **part, "arguments": arguments},
            self._finish(item),
        ]

    def _response(self, status: str, output: list[Body]) -> Body:
        completed = status == "completed"
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if completed else None,
            "status": status,
            **self._echo,
            "output": output,
            "usage": _usage(self.message) if completed else None,
        }

    def _event(self, event: Body) -> bytes:
        event["sequence_number"] = self._events
        self._events += 1
        return f"event: {event['type']}\n".encode() + b"data: " + codec.encode(event) + b"\n\n"


def _echo(request: ResponsesRequest) -> Body:
    """The fields that repeat the request, and those that are the same in every answer."""
    body = request.body
    reasoning = request.reasoning or None
    tool_fields = ("type", "name", "description", "strict", "parameters")
    return {
        "incomplete_details": None,
        "model": request.model,
        "previous_response_id": None,
        "instructions": body.get("instructions") or None,
        "error": None,
        "tools": [{name: tool.get(name) for name in tool_fields} for tool in body.get("tools", [])],
        "tool_choice": "auto",
        "truncation": body.get("truncation", "disabled"),
        "parallel_tool_calls": True,
        "text": {"format": request.text_format or {"type": "text"}},
        "top_p": body.get("top_p", 1.0),
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": body.get("temperature", 1.0),
        "reasoning": reasoning and {"effort": None, "summary": None, **reasoning},
        "max_output_tokens": body.get("max_output_tokens"),
        "max_tool_calls": None,
        "store": False,
        "background": body.get("background", False),
        "service_tier": "default",
        "metadata": {},
        "safety_identifier": None,
        "prompt_cache_key": None,
    }


def _text(text: str) -> Body:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(message: Message) -> Body:
    prompt, output = message.prompt_tokens, message.output_tokens
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": prompt + output,
        "input_tokens_details": {"cached_tokens": message.cached_tokens},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
