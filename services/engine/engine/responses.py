"""OpenAI's responses as Ollama serves them, without I/O: llama.cpp's chunks in."""

import time
from typing import Any
from uuid import uuid4

from . import wire
from .message import Chunk, Message
from .responses_requests import ResponsesRequest

Body = dict[str, Any]


class Responses:
    """An answer: items in their order, first what the model thinks, then its text or its calls."""

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
        said = new.thinking or new.text or new.finish_reason
        events = self._begin() if said and not self._events else []
        if new.thinking:
            events += self._think(new.thinking)
        if new.text:
            events += self._say(new.text)
        if new.finish_reason:
            events += self._end()
        return b"".join(self._event(event) for event in events)

    def whole(self) -> Body:
        return self._response("completed", self._output)

    def _begin(self) -> list[Body]:
        begun = self._response("in_progress", [])
        return [{"type": f"response.{state}", "response": begun} for state in ("created", "in_progress")]

    def _think(self, text: str) -> list[Body]:
        opening = []
        if not self._open:
            item = {"id": f"rs_{self._id}", "type": "reasoning", "summary": []}
            opening = self._start(item, {"summary_index": 0})
        return [*opening, self._part("reasoning_summary_text.delta", delta=text)]

    def _say(self, text: str) -> list[Body]:
        opening = []
        if not self._open or self._open["item"]["type"] != "message":
            item = {"id": f"msg_{self._id}", "type": "message", "status": "in_progress", "role": "assistant"}
            opening = [*self._close(), *self._start({**item, "content": []}, {"content_index": 0})]
            opening.append(self._part("content_part.added", part=_text("")))
        return [*opening, self._part("output_text.delta", delta=text, logprobs=[])]

    def _start(self, item: Body, index: Body) -> list[Body]:
        place = {"output_index": len(self._output)}
        self._open = {"item": item, "place": {"item_id": item["id"], **place, **index}}
        return [{"type": "response.output_item.added", **place, "item": item}]

    def _part(self, kind: str, **what: object) -> Body:
        assert self._open
        return {"type": f"response.{kind}", **self._open["place"], **what}

    def _close(self) -> list[Body]:
        if not self._open:
            return []
        item = self._open["item"]
        if item["type"] == "reasoning":
            thought = self.message.thinking
            done = [self._part("reasoning_summary_text.done", text=thought)]
            item = item | {"summary": [{"type": "summary_text", "text": thought}]}
            item["encrypted_content"] = thought
        else:
            text = self.message.text
            done = [self._part("output_text.done", text=text, logprobs=[])]
            done.append(self._part("content_part.done", part=_text(text)))
            item = item | {"status": "completed", "content": [_text(text)]}
        self._open = None
        return [*done, self._finished(item)]

    def _finished(self, item: Body) -> Body:
        self._output.append(item)
        return {"type": "response.output_item.done", "output_index": len(self._output) - 1, "item": item}

    def _end(self) -> list[Body]:
        """Calls leave here, whole, as Ollama sends them."""
        events = self._close()
        for number, call in enumerate(self.message.tool_calls):
            events += self._call(f"fc_{self._id}_{number}", call)
        if all(item["type"] == "reasoning" for item in self._output):
            # Even an answer without a word is a message.
            events += [*self._say(""), *self._close()]
        return [*events, {"type": "response.completed", "response": self.whole()}]

    def _call(self, name: str, call: Body) -> list[Body]:
        function = call["function"]
        given = function["arguments"]
        item = {"id": name, "type": "function_call", "status": "completed", "call_id": call["id"]}
        item |= {"name": function["name"], "arguments": given}
        place = {"output_index": len(self._output)}
        part = {"item_id": name, **place}
        begun = item | {"status": "in_progress", "arguments": ""}
        return [
            {"type": "response.output_item.added", **place, "item": begun},
            {"type": "response.function_call_arguments.delta", **part, "delta": given},
            {"type": "response.function_call_arguments.done", **part, "arguments": given},
            self._finished(item),
        ]

    def _response(self, status: str, output: list[Body]) -> Body:
        ended = status == "completed"
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "completed_at": int(time.time()) if ended else None,
            "status": status,
            **self._echo,
            "output": output,
            "usage": _usage(self.message) if ended else None,
        }

    def _event(self, event: Body) -> bytes:
        event["sequence_number"] = self._events
        self._events += 1
        return f"event: {event['type']}\n".encode() + b"data: " + wire.dumps(event) + b"\n\n"


def _echo(request: ResponsesRequest) -> Body:
    """What an answer repeats of its request, and what is the same in each."""
    asked = request.asked
    reasoning = request.reasoning or None
    tool = ("type", "name", "description", "strict", "parameters")
    return {
        "incomplete_details": None,
        "model": request.model,
        "previous_response_id": None,
        "instructions": asked.get("instructions") or None,
        "error": None,
        "tools": [{name: given.get(name) for name in tool} for given in asked.get("tools", [])],
        "tool_choice": "auto",
        "truncation": asked.get("truncation", "disabled"),
        "parallel_tool_calls": True,
        "text": {"format": request.text_format or {"type": "text"}},
        "top_p": asked.get("top_p", 1.0),
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "temperature": asked.get("temperature", 1.0),
        "reasoning": reasoning and {"effort": None, "summary": None, **reasoning},
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": None,
        "store": False,
        "background": asked.get("background", False),
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
