"""Requests of /v1/messages, converted to Ollama's chat requests."""

import json
from collections.abc import Iterator
from typing import Any

from ...errors import BadRequestError
from ...models.model import Model
from .. import limits, media
from ..gojson.structs import Fields, checked, mismatch
from ..ollama.requests import ChatRequest

Body = dict[str, Any]

_FIELDS: Fields = {
    "model": "string",
    "max_tokens": "int",
    "messages": "[]anthropic.MessageParam",
    "system": "any",
    "stream": "bool",
    "temperature": "float64",
    "top_p": "float64",
    "top_k": "int",
    "stop_sequences": "[]string",
    "tools": "[]anthropic.Tool",
    "thinking": "anthropic.ThinkingConfig",
    "output_config": "anthropic.OutputConfig",
}
_MESSAGE: Fields = {"role": "string", "content": "any"}
_BLOCK: Fields = {
    "type": "string",
    "text": "string",
    "source": "anthropic.ImageSource",
    "id": "string",
    "name": "string",
    "input": "api.ToolCallFunctionArguments",
    "tool_use_id": "string",
    "content": "any",
    "thinking": "string",
}
_SOURCE: Fields = {"type": "string", "media_type": "string", "data": "string", "url": "string"}
_TOOL: Fields = {"type": "string", "name": "string", "description": "string", "input_schema": "any"}
_THINKING: Fields = {"type": "string"}
_OUTPUT: Fields = {"effort": "string"}

_SEARCH = {
    "name": "web_search",
    "description": "Search the web for current information.",
    "parameters": {
        "type": "object",
        "required": ["query"],
        "properties": {"query": {"type": "string", "description": "What to look for"}},
    },
}


class MessagesRequest(ChatRequest):
    def __init__(self, raw: object) -> None:
        target = "MessagesRequest"
        body = checked(raw, _FIELDS, f"Go value of type anthropic.{target}", target)
        if not body.get("model"):
            raise BadRequestError("model is required")
        if body.get("max_tokens", 0) < 1:
            raise BadRequestError("max_tokens is required and must be positive")
        if not body.get("messages"):
            raise BadRequestError("messages is required")
        limits.check_messages(body["messages"])
        options = {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body}
        super().__init__(
            {
                "model": body["model"],
                "stream": body.get("stream", False),
                "messages": [*_system(body.get("system")), *_messages(body["messages"])],
                "options": {
                    **options,
                    "num_predict": body["max_tokens"],
                    "stop": body.get("stop_sequences", []),
                },
                "tools": [_tool(tool) for tool in body.get("tools", [])],
                "think": _think(body),
            }
        )

    def check(self, model: Model) -> None:
        # Coding tools request thinking from every model, even from those that can't.
        if "thinking" not in model.capabilities:
            self._think = None
        super().check(model)

    def llama_body(self) -> Body:
        # Each chunk then has the length of the prompt, which Anthropic's first event reports.
        return super().llama_body() | {"timings_per_token": True}


def _system(value: object) -> list[Body]:
    text = value if isinstance(value, str) else _texts(value)
    return [{"role": "system", "content": text}] if text else []


def _texts(value: object) -> str:
    """The text of a list's text blocks; anything else is ignored."""
    blocks = value if isinstance(value, list) else []
    texts = [block["text"] for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _think(body: Body) -> bool | str | None:
    kind = checked(body.get("thinking"), _THINKING, "", "MessagesRequest.thinking").get("type")
    output = checked(body.get("output_config"), _OUTPUT, "", "MessagesRequest.output_config")
    effort = output.get("effort", "").strip().lower().replace("xhigh", "high")
    if kind in ("enabled", "disabled"):
        return bool(kind == "enabled")
    return effort if effort in ("high", "medium", "low", "max") else None


def _messages(raw: list[object]) -> Iterator[Body]:
    for value in raw:
        message = checked(
            value, _MESSAGE, "Go struct field MessagesRequest.messages", "MessagesRequest.messages"
        )
        yield from _turn(message.get("role", "").lower(), _blocks(message))


def _blocks(message: Body) -> list[Body]:
    content = message.get("content", [])
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    field = "Go struct field MessagesRequest.messages of type"
    if not isinstance(content, list):
        raise mismatch(content, f"{field} []anthropic.ContentBlock")
    return [
        checked(block, _BLOCK, f"{field} anthropic.ContentBlock", "MessagesRequest.messages")
        for block in content
    ]


def _turn(role: str, blocks: list[Body]) -> Iterator[Body]:
    """One of Ollama's messages, plus one per tool result. Blocks of unknown type are skipped."""
    fields: Body = {"content": "", "thinking": "", "images": [], "tool_calls": []}
    results: list[Body] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                fields["content"] += block.get("text", "")
            case "thinking":
                fields["thinking"] = block.get("thinking", "")
            case "image":
                fields["images"].append(_image(block.get("source"), "invalid image source"))
            case "tool_use" | "server_tool_use" as kind:
                fields["tool_calls"].append(_call(block, kind))
            case "tool_result":
                results.append(_result(block, *_result_content(block.get("content"))))
            case "web_search_tool_result":
                results.append(_result(block, _search_results(block.get("content")), []))
    turn = [{"role": role, **fields}] if any(fields.values()) else []
    yield from [*results, *turn] if role == "user" else [*turn, *results]


def _call(block: Body, kind: str) -> Body:
    for name in ("id", "name"):
        if kind == "tool_use" and not block.get(name):
            raise BadRequestError(f"tool_use block missing required '{name}' field")
    function = {"name": block.get("name", ""), "arguments": block.get("input", {})}
    return {"id": block.get("id", ""), "function": function}


def _result(block: Body, text: str, images: list[str]) -> Body:
    call = block.get("tool_use_id", "")
    return {"role": "tool", "content": text, "images": images, "tool_call_id": call}


def _result_content(content: object) -> tuple[str, list[str]]:
    if isinstance(content, str):
        return content, []
    blocks = content if isinstance(content, list) else []
    images = [
        _image(block.get("source"), "invalid tool_result image source")
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "image"
    ]
    return _texts(content), images


def _search_results(content: object) -> str:
    """The results of an earlier web search, as text."""
    if isinstance(content, str):
        return content
    results = [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []
    lines = [f"- {item.get('title', '')}: {item.get('url', '')}\n" for item in results if "url" in item]
    return "".join(lines) if lines else json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _image(raw: object, message: str) -> str:
    if not isinstance(raw, dict):
        raise BadRequestError(message)
    source = checked(raw, _SOURCE, "", "MessagesRequest.messages.source")
    if source.get("type") != "base64":
        kind = source.get("type", "")
        raise BadRequestError(f"invalid image source type: {kind}. Only base64 images are supported.")
    return media.checked_base64(source.get("data", ""), "invalid base64 image data")


def _tool(raw: object) -> Body:
    tool = checked(raw, _TOOL, "Go struct field MessagesRequest.tools of type anthropic.Tool", "tools")
    if tool.get("type", "").startswith("web_search"):
        return {"type": "function", "function": _SEARCH}
    function = {"name": tool.get("name", ""), "description": tool.get("description", "")}
    return {"type": "function", "function": function | {"parameters": tool.get("input_schema", {})}}
