"""Messages and tools of a conversation: checks them and converts them to llama.cpp's form."""

import base64
import binascii
import json
from typing import Any

from ...errors import BadRequestError
from ..gojson.structs import Fields, checked, mismatch

Body = dict[str, Any]

_MESSAGE: Fields = {
    "role": "string",
    "content": "string",
    "thinking": "string",
    "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall",
    "tool_name": "string",
    "tool_call_id": "string",
}
_CALL: Fields = {"id": "string", "function": "api.ToolCallFunction"}
_FUNCTION: Fields = {"index": "int", "name": "string", "arguments": "api.ToolCallFunctionArguments"}
_TOOL: Fields = {"type": "string", "items": "any", "function": "api.ToolFunction"}
_TOOL_FUNCTION: Fields = {
    "name": "string",
    "description": "string",
    "parameters": "api.ToolFunctionParameters",
}
_LLAMA_NAMES = {"thinking": "reasoning_content", "tool_name": "name", "tool_call_id": "tool_call_id"}


def checked_message(raw: object) -> Body:
    prefix = "ChatRequest.messages"
    message = checked(raw, _MESSAGE, f"Go struct field {prefix} of type api.Alias", prefix)
    check_images(message.get("images", []), f"{prefix}.images")
    return message


def check_images(images: list[object], field: str) -> None:
    """Raises BadRequestError unless they are base64."""
    for image in images:
        if not isinstance(image, str):
            raise mismatch(image, f"Go struct field {field} of type api.ImageData")
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequestError("illegal base64 data at input byte 0") from error


def llama_message(message: Body) -> Body:
    """Converts one of Ollama's messages to OpenAI's form, which llama.cpp expects."""
    calls = [_call(call, "ChatRequest.messages.tool_calls") for call in message.get("tool_calls", [])]
    return {
        "role": message.get("role", "").lower(),
        "content": message.get("content", ""),
        **{new: message[old] for old, new in _LLAMA_NAMES.items() if old in message},
        **({"tool_calls": calls} if calls else {}),
    }


def llama_tool(raw: object) -> Body:
    target = "Go struct field ChatRequest.tools of type api.Tool"
    tool = checked(raw, _TOOL, target, "Tool.tools")
    function = checked(tool.get("function"), _TOOL_FUNCTION, "", "Tool.tools.function")
    return {"type": "function", "function": function}


def _call(raw: object, prefix: str) -> Body:
    call = checked(raw, _CALL, f"Go struct field {prefix} of type api.ToolCall", prefix)
    function = checked(call.get("function"), _FUNCTION, "", f"{prefix}.function")
    arguments = json.dumps(function.get("arguments", {}))
    return {
        "id": call.get("id", ""),
        "type": "function",
        "function": {"name": function.get("name", ""), "arguments": arguments},
    }
