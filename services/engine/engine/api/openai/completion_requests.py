"""Requests of /v1/chat/completions and /v1/completions, converted to Ollama's."""

from typing import Any

from ...errors import BadRequestError
from .. import limits, media
from ..body import decode_nested
from ..gojson.structs import Fields, checked, go_type
from ..ollama.requests import ChatRequest, GenerateRequest
from .reasoning import think_of_effort

Body = dict[str, Any]

_SHARED: Fields = {
    "model": "string",
    "stream": "bool",
    "stream_options": "openai.StreamOptions",
    "max_tokens": "int",
    "seed": "int",
    "stop": "any",
}
_CHAT: Fields = {
    **_SHARED,
    "messages": "[]openai.Message",
    "max_completion_tokens": "int",
    "temperature": "float64",
    "frequency_penalty": "float64",
    "presence_penalty": "float64",
    "top_p": "float64",
    "response_format": "openai.ResponseFormat",
    "tools": "[]api.Tool",
    "reasoning": "openai.Reasoning",
    "reasoning_effort": "string",
    "logprobs": "bool",
    "top_logprobs": "int",
}
_COMPLETION: Fields = {
    **_SHARED,
    "prompt": "string",
    "temperature": "float32",
    "frequency_penalty": "float32",
    "presence_penalty": "float32",
    "top_p": "float32",
    "suffix": "string",
    "logprobs": "int",
}
_STREAM_OPTIONS: Fields = {"include_usage": "bool"}
_MESSAGE: Fields = {
    "role": "string",
    "content": "any",
    "reasoning": "string",
    "tool_calls": "[]openai.ToolCall",
    "name": "string",
    "tool_call_id": "string",
}
_CALL: Fields = {"id": "string", "index": "int", "type": "string", "function": "openai.ToolCallFunction"}
_FUNCTION: Fields = {"name": "string", "arguments": "string"}
_FORMAT: Fields = {"type": "string", "json_schema": "openai.JsonSchema"}
_SCHEMA: Fields = {"schema": "any"}
_REASONING: Fields = {"effort": "string"}

_SAMPLING = ("temperature", "top_p", "seed", "frequency_penalty", "presence_penalty")
_DEFAULTS: Body = {"temperature": 1.0, "top_p": 1.0}


class ChatCompletionRequest(ChatRequest):
    def __init__(self, raw: object) -> None:
        target = "ChatCompletionRequest"
        body = checked(raw, _CHAT, f"Go value of type openai.{target}", target)
        if not body.get("messages"):
            raise BadRequestError("[] is too short - 'messages'")
        limits.check_messages(body["messages"])
        self.with_usage = _with_usage(body, target)
        native: Body = {name: body[name] for name in ("tools", "logprobs", "top_logprobs") if name in body}
        super().__init__(
            native
            | {
                "model": body.get("model", ""),
                "stream": body.get("stream", False),
                "messages": _messages(body["messages"], f"{target}.messages"),
                "options": _options(body, _stops(body.get("stop"))),
                "format": _format(body.get("response_format"), target),
                "think": think_of_effort(_effort(body, target)),
            }
        )


class CompletionRequest(GenerateRequest):
    def __init__(self, raw: object) -> None:
        target = "CompletionRequest"
        body = checked(raw, _COMPLETION, f"Go value of type openai.{target}", target)
        self.with_usage = _with_usage(body, target)
        stops = body.get("stop")
        for stop in stops if isinstance(stops, list) else []:
            if not isinstance(stop, str):
                raise BadRequestError(f"invalid type for 'stop' field: {go_type(stop)}")
        super().__init__(
            {
                "model": body.get("model", ""),
                "stream": body.get("stream", False),
                "prompt": body.get("prompt", ""),
                "suffix": body.get("suffix", ""),
                # Ollama ignores a top_p of 0.
                "options": _options(body, _stops(stops)) | ({"top_p": 1.0} if not body.get("top_p") else {}),
            }
        )


def _with_usage(body: Body, target: str) -> bool:
    options = checked(body.get("stream_options"), _STREAM_OPTIONS, "", f"{target}.stream_options")
    return bool(options.get("include_usage"))


def _options(body: Body, stop: list[str]) -> Body:
    options = _DEFAULTS | {name: body[name] for name in _SAMPLING if name in body} | {"stop": stop}
    # Ollama supports only the older name; clients now send the newer one.
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    return options | ({"num_predict": limit} if limit is not None else {})


def _stops(value: object) -> list[str]:
    stops = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [stop for stop in stops if isinstance(stop, str)]


def _effort(body: Body, target: str) -> str:
    if "reasoning" in body:
        effort: str = checked(body["reasoning"], _REASONING, "", f"{target}.reasoning").get("effort", "")
        return effort
    return str(body.get("reasoning_effort", ""))


def _format(value: object, target: str) -> object:
    wanted = checked(value, _FORMAT, "", f"{target}.response_format")
    match wanted.get("type", "").strip().lower():
        case "json_object":
            return "json"
        case "json_schema":
            return checked(wanted.get("json_schema"), _SCHEMA, "", f"{target}.json_schema").get("schema")
    return None


def _messages(raw: list[object], prefix: str) -> list[Body]:
    """Each part of a message's content becomes its own message, as with Ollama."""
    messages: list[Body] = []
    names: dict[str, str] = {}
    for value in raw:
        message = checked(value, _MESSAGE, f"Go struct field {prefix} of type openai.Message", prefix)
        calls = [_call(call, f"{prefix}.tool_calls") for call in message.get("tool_calls", [])]
        names |= {call["id"]: call["function"]["name"] for call in calls}
        head = {"role": message.get("role", ""), "tool_call_id": message.get("tool_call_id", "")}
        if head["role"].lower() == "tool":
            head["tool_name"] = message.get("name") or names.get(head["tool_call_id"], "")
        fields = {**head, "thinking": message.get("reasoning", ""), "tool_calls": calls}
        match message.get("content"):
            case str(text):
                messages.append({**fields, "content": text})
            case list(parts):
                messages += [{"role": head["role"], **_part(part)} for part in parts]
                if calls and messages:
                    messages[-1] |= fields
            case content if "tool_calls" in message and content is None:
                messages.append(fields)
            case content:
                raise BadRequestError(f"invalid message content type: {go_type(content)}")
    return [{name: value for name, value in message.items() if value} for message in messages]


def _part(part: object) -> Body:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"content": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return {"images": [media.base64_of_url(url)]}
        case {"type": "input_audio", "input_audio": {"data": str(data)}}:
            return {"images": [media.checked_base64(data, "invalid input_audio base64 data")]}
    raise BadRequestError("invalid message format")


def _call(raw: object, prefix: str) -> Body:
    call = checked(raw, _CALL, f"Go struct field {prefix} of type openai.ToolCall", prefix)
    function = checked(call.get("function"), _FUNCTION, "", f"{prefix}.function")
    arguments = decode_nested(function.get("arguments", ""), "invalid tool call arguments")
    return {"id": call.get("id", ""), "function": {"name": function.get("name", ""), "arguments": arguments}}
