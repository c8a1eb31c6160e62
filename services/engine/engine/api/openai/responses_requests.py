"""Requests of /v1/responses, converted to Ollama's chat requests."""

from typing import Any

from ...errors import BadRequestError
from .. import limits, media
from ..body import decode_nested
from ..gojson.structs import Fields, checked, mismatch
from ..ollama.requests import ChatRequest
from .reasoning import think_of_effort

Body = dict[str, Any]

_FIELDS: Fields = {
    "model": "string",
    "background": "bool",
    "input": "any",
    "instructions": "string",
    "max_output_tokens": "int",
    "reasoning": "openai.ResponsesReasoning",
    "temperature": "float64",
    "text": "openai.ResponsesText",
    "top_p": "float64",
    "truncation": "string",
    "tools": "[]openai.ResponsesTool",
    "stream": "bool",
}
_REASONING: Fields = {"effort": "string", "summary": "string"}
_TEXT: Fields = {"format": "openai.ResponsesTextFormat"}
_FORMAT: Fields = {"type": "string", "name": "string", "schema": "any", "strict": "bool"}
_TOOL: Fields = {
    "type": "string",
    "name": "string",
    "description": "string",
    "strict": "bool",
    "parameters": "map[string]interface {}",
    "tools": "[]openai.ResponsesTool",
}
_ITEM: Fields = {
    "type": "string",
    "role": "string",
    "content": "any",
    "call_id": "string",
    "name": "string",
    "arguments": "string",
    "output": "any",
    "encrypted_content": "string",
}
_CONTENT: Fields = {"type": "string", "text": "string", "image_url": "string"}


class ResponsesRequest(ChatRequest):
    def __init__(self, raw: object) -> None:
        target = "ResponsesRequest"
        body = checked(raw, _FIELDS, f"Go value of type openai.{target}", target)
        text = checked(body.get("text"), _TEXT, "", f"{target}.text")
        self.body = body
        self.reasoning = checked(body.get("reasoning"), _REASONING, "", f"{target}.reasoning")
        self.text_format = checked(text.get("format"), _FORMAT, "", f"{target}.text.format")
        system = {"role": "system", "content": body.get("instructions", "")}
        limit = {"num_predict": body["max_output_tokens"]} if "max_output_tokens" in body else {}
        top_p = {"top_p": body["top_p"]} if "top_p" in body else {}
        has_schema = self.text_format.get("type") == "json_schema"
        super().__init__(
            {
                "model": body.get("model", ""),
                "stream": body.get("stream", False),
                "messages": [system] * bool(system["content"]) + _messages(body.get("input", "")),
                "options": {"temperature": body.get("temperature", 1.0), **top_p, **limit},
                "tools": [converted for tool in body.get("tools", []) for converted in _tools(tool, "")],
                "format": self.text_format.get("schema") if has_schema else None,
                "think": think_of_effort(self.reasoning.get("effort", "")),
            }
        )


def _messages(value: object) -> list[Body]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}] if value else []
    if not isinstance(value, list):
        reason = mismatch(value, "Go value of type []json.RawMessage").message
        raise BadRequestError(f"input must be a string or array: {reason}")
    limits.check_messages(value)
    conversation = _Conversation()
    for index, item in enumerate(value):
        try:
            conversation.add(checked(item, _ITEM, "an item", "item"))
        except BadRequestError as error:
            raise BadRequestError(f"input[{index}]: {error.message}") from error
    return conversation.messages()


class _Conversation:
    """Builds messages from items. Reasoning and calls are items of their own, before the text or after it."""

    def __init__(self) -> None:
        self._messages: list[Body] = []
        self._reasoning = ""

    def add(self, item: Body) -> None:
        kind = item.get("type") or ("message" if item.get("role") else "")
        match kind:
            case "message":
                self._add_message(item)
            case "reasoning":
                self._reasoning = item.get("encrypted_content", "")
            case "function_call":
                self._add_call(item)
            case "function_call_output":
                text, images = _content(item.get("output", ""), "output")
                call = item.get("call_id", "")
                result = {"role": "tool", "content": text, "images": images, "tool_call_id": call}
                self._messages.append(result)
            case "web_search_call":
                pass  # its results are in the answer that follows
            case "":
                raise BadRequestError("input item missing required 'type' field")
            case _:
                raise BadRequestError(f'unknown input item type: "{kind}"')

    def messages(self) -> list[Body]:
        if self._reasoning:
            self._messages.append({"role": "assistant", **self._take_reasoning()})
        return self._messages

    def _add_message(self, item: Body) -> None:
        text, images = _content(item.get("content", ""), "content")
        role = item.get("role", "")
        message = {"role": role, "content": text, "images": images}
        last = self._messages[-1] if self._messages else {}
        if role == "assistant" and last.get("tool_calls"):
            # The text comes between a call and its output, which must follow the call directly.
            message = {**last, "content": "\n".join(filter(None, (last.get("content"), text)))}
            self._messages.pop()
        self._messages.append(message | (self._take_reasoning() if role == "assistant" else {}))

    def _add_call(self, item: Body) -> None:
        """A call belongs to the assistant's message before it."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant"})
        text = item.get("arguments", "")
        arguments = decode_nested(text, "failed to parse function call arguments") if text else {}
        function = {"name": item.get("name", ""), "arguments": arguments}
        message = self._messages[-1] | self._take_reasoning()
        calls = [*message.get("tool_calls", []), {"id": item.get("call_id", ""), "function": function}]
        self._messages[-1] = message | {"tool_calls": calls}

    def _take_reasoning(self) -> Body:
        reasoning, self._reasoning = self._reasoning, ""
        return {"thinking": reasoning} if reasoning else {}


def _content(value: object, name: str) -> tuple[str, list[str]]:
    """The text and the images of a message, or of a call's output."""
    if isinstance(value, str):
        return value, []
    if not isinstance(value, list):
        reason = mismatch(value, "Go value of type []json.RawMessage").message
        raise BadRequestError(f"{name} must be a string or array: {reason}")
    text, images = "", []
    for index, raw in enumerate(value):
        part = checked(raw, _CONTENT, "a part", name)
        match part.get("type", ""):
            case "input_text" | "output_text":
                text += part.get("text", "")
            case "input_image":
                # Ollama silently drops images given as file ids.
                if not part.get("image_url"):
                    raise BadRequestError(f"{name}[{index}]: image files are not supported")
                images.append(media.base64_of_url(part["image_url"]))
            case "input_file":
                raise BadRequestError("file inputs are not currently supported")
            case kind:
                raise BadRequestError(f"{name}[{index}]: unknown content type: {kind}")
    return text, images


def _tools(raw: object, namespace: str) -> list[Body]:
    """One tool, or all tools of a namespace, prefixed with its name."""
    tool = checked(raw, _TOOL, "Go struct field ResponsesRequest.tools of type openai.ResponsesTool", "tools")
    name = tool.get("name", "")
    if namespace and not name.startswith(f"{namespace}."):
        name = f"{namespace}.{name}"
    if tool.get("type") == "namespace":
        return [inner for member in tool.get("tools", []) for inner in _tools(member, name)]
    function = {"name": name or tool.get("type", ""), "description": tool.get("description", "")}
    return [{"type": "function", "function": function | {"parameters": tool.get("parameters", {})}}]
