"""Anthropic's messages as Ollama serves them, without I/O: to and from chat completions.

llama.cpp has this API too, but writes nothing while it evaluates the prompt, so it would not
notice a client that leaves then. Its chat completions report progress.
"""

import json
from typing import Any
from uuid import uuid4

from . import wire
from .catalogue import Model
from .errors import BadRequestError, EmptyBodyError, EngineError
from .fields import Fields, checked
from .message import Chunk, Message

Body = dict[str, Any]

_FIELDS: Fields = {
    "model": "string",
    "stream": "bool",
    "max_tokens": "int",
    "messages": "[]anthropic.MessageParam",
    "tools": "[]anthropic.Tool",
    "thinking": "anthropic.ThinkingConfig",
    "stop_sequences": "[]string",
}
_MESSAGE: Fields = {"role": "string"}
_BLOCK: Fields = {
    "type": "string",
    "text": "string",
    "thinking": "string",
    "name": "string",
    "id": "string",
    "tool_use_id": "string",
    "input": "map[string]interface {}",
}
_TOOL: Fields = {"name": "string", "description": "string", "input_schema": "map[string]interface {}"}

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error", 503: "overloaded_error"}


class Anthropic:
    def error(self, error: EngineError) -> Body:
        message = "EOF" if isinstance(error, EmptyBodyError) else error.message
        kind = _ERROR_TYPES.get(error.status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": f"req_{uuid4().hex[:24]}",
        }

    def error_event(self, error: EngineError) -> bytes:
        return _event(self.error(error))


class Messages:
    """A request and its answer."""

    media_type = "text/event-stream"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _FIELDS, "Go value of type anthropic.MessagesRequest", "MessagesRequest")
        self.message = Message()
        self.model: str = body.get("model", "")
        self.stream: bool = body.get("stream", False)
        self._body = body
        self._thinking = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        self._head: Body = {
            "id": f"msg_{uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
        }
        self._started = False
        self._index = -1
        self._open: str | None = None
        if not self.model:
            raise BadRequestError("model is required")
        if body.get("max_tokens", 0) < 1:
            raise BadRequestError("max_tokens is required and must be positive")
        if not body.get("messages"):
            raise BadRequestError("messages is required")
        self._messages = [m for message in body["messages"] for m in _chat_messages(message)]

    def check(self, model: Model) -> None:
        if "completion" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support chat')
        if self._body.get("tools") and "tools" not in model.capabilities:
            raise BadRequestError(f"{model.name.full} does not support tools")
        if self._thinking and "thinking" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support thinking')

    def llama(self) -> Body:
        body = self._body
        same = ("max_tokens", "temperature", "top_p", "top_k")
        request: Body = {name: body[name] for name in same if name in body}
        system = _text(body.get("system", ""))
        request["messages"] = [{"role": "system", "content": system}] * bool(system) + self._messages
        # Each chunk then says how long the prompt was, which Anthropic's first event reports.
        request["timings_per_token"] = True
        if "stop_sequences" in body:
            request["stop"] = body["stop_sequences"]
        if "tools" in body:
            request["tools"] = [_tool(tool) for tool in body["tools"]]
        if "thinking" in body:
            request["chat_template_kwargs"] = {"enable_thinking": self._thinking}
        return request

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
        for call in message.tool_calls:
            arguments = json.loads(call["function"]["arguments"] or "{}")
            content.append({**_tool_use(call), "input": arguments})
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
        """Tool calls leave here, whole, as Ollama sends them."""
        events = self._close()
        for call in self.message.tool_calls:
            events += self._begin({**_tool_use(call), "input": {}})
            delta = {"type": "input_json_delta", "partial_json": call["function"]["arguments"]}
            events.append({"type": "content_block_delta", "index": self._index, "delta": delta})
            events += self._close()
        events.append({"type": "message_delta", "delta": self._stop(), "usage": self._usage()})
        return [*events, {"type": "message_stop"}]

    def _stop(self) -> Body:
        reason = _STOP_REASONS.get(self.message.finish_reason or "", "end_turn")
        return {"stop_reason": reason, "stop_sequence": None}

    def _usage(self) -> Body:
        return {"input_tokens": self.message.prompt_tokens, "output_tokens": self.message.output_tokens}


def _tool_use(call: Body) -> Body:
    return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"]}


def _tool(raw: object) -> Body:
    tool = checked(raw, _TOOL, "Go struct field MessagesRequest.tools of type anthropic.Tool", "tools")
    function = {"name": tool.get("name", ""), "parameters": tool.get("input_schema", {})}
    return {"type": "function", "function": function | {"description": tool.get("description", "")}}


def _chat_messages(raw: object) -> list[Body]:
    """The messages of chat completions for one of Anthropic's: a tool's result is one by itself."""
    message = checked(raw, _MESSAGE, "Go struct field MessagesRequest.messages", "messages")
    role, content = message.get("role", ""), message.get("content", "")
    if role not in ("user", "assistant"):
        raise BadRequestError(f"invalid role '{role}': expected 'user' or 'assistant'")
    results: list[Body] = []
    calls: list[Body] = []
    said: Body = {"role": role, "content": ""}
    for block in _blocks(content):
        match block.get("type"):
            case "text":
                said["content"] += block.get("text", "")
            case "thinking":
                said["reasoning_content"] = block.get("thinking", "")
            case "tool_use":
                function = {"name": block.get("name", ""), "arguments": json.dumps(block.get("input", {}))}
                calls.append({"id": block.get("id", ""), "type": "function", "function": function})
            case "tool_result":
                result = {"role": "tool", "tool_call_id": block.get("tool_use_id", "")}
                results.append({**result, "content": _text(block.get("content", ""))})
            case kind:
                raise BadRequestError(f"content of type '{kind}' is not supported")
    if calls:
        said["tool_calls"] = calls
    return [*results, said] if said["content"] or calls or not results else results


def _text(content: object) -> str:
    return "".join(block.get("text", "") for block in _blocks(content))


def _blocks(content: object) -> list[Body]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise BadRequestError("content must be a string or a list of blocks")
    return [checked(block, _BLOCK, "Go struct field messages.content", "content") for block in content]


def _event(value: Body) -> bytes:
    return f"event: {value['type']}\n".encode() + b"data: " + wire.dumps(value) + b"\n\n"
