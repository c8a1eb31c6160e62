"""OpenAI's responses, made into Ollama's chats."""

from typing import Any

from . import bounds, efforts, media, wire
from .errors import BadRequestError
from .fields import Fields, checked, mismatch
from .ollama_requests import ChatRequest

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
        self.asked = body
        self.reasoning = checked(body.get("reasoning"), _REASONING, "", f"{target}.reasoning")
        self.text_format = checked(text.get("format"), _FORMAT, "", f"{target}.text.format")
        told = {"role": "system", "content": body.get("instructions", "")}
        limit = {"num_predict": body["max_output_tokens"]} if "max_output_tokens" in body else {}
        top_p = {"top_p": body["top_p"]} if "top_p" in body else {}
        bound = self.text_format.get("type") == "json_schema"
        super().__init__(
            {
                "model": body.get("model", ""),
                "stream": body.get("stream", False),
                "messages": [told] * bool(told["content"]) + _messages(body.get("input", "")),
                "options": {"temperature": body.get("temperature", 1.0), **top_p, **limit},
                "tools": [tool for given in body.get("tools", []) for tool in _tools(given, "")],
                "format": self.text_format.get("schema") if bound else None,
                "think": efforts.think(self.reasoning.get("effort", "")),
            }
        )


def _messages(given: object) -> list[Body]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}] if given else []
    if not isinstance(given, list):
        reason = mismatch(given, "Go value of type []json.RawMessage").message
        raise BadRequestError(f"input must be a string or array: {reason}")
    bounds.check_messages(given)
    conversation = _Conversation()
    for index, item in enumerate(given):
        try:
            conversation.add(checked(item, _ITEM, "an item", "item"))
        except BadRequestError as error:
            raise BadRequestError(f"input[{index}]: {error.message}") from error
    return conversation.finished()


class _Conversation:
    """Items in their order. Thoughts and calls come before what the assistant says, or after."""

    def __init__(self) -> None:
        self._messages: list[Body] = []
        self._thought = ""

    def add(self, item: Body) -> None:
        kind = item.get("type") or ("message" if item.get("role") else "")
        match kind:
            case "message":
                self._say(item)
            case "reasoning":
                self._thought = item.get("encrypted_content", "")
            case "function_call":
                self._call(item)
            case "function_call_output":
                text, images = _content(item.get("output", ""), "output")
                call = item.get("call_id", "")
                result = {"role": "tool", "content": text, "images": images, "tool_call_id": call}
                self._messages.append(result)
            case "web_search_call":
                pass  # what it has found is in the answer that follows
            case "":
                raise BadRequestError("input item missing required 'type' field")
            case _:
                raise BadRequestError(f'unknown input item type: "{kind}"')

    def finished(self) -> list[Body]:
        if self._thought:
            self._messages.append({"role": "assistant", **self._thinking()})
        return self._messages

    def _say(self, item: Body) -> None:
        text, images = _content(item.get("content", ""), "content")
        role = item.get("role", "")
        said = {"role": role, "content": text, "images": images}
        last = self._messages[-1] if self._messages else {}
        if role == "assistant" and last.get("tool_calls"):
            # Said between a call and its output, which must follow the call at once.
            said = {**last, "content": "\n".join(filter(None, (last.get("content"), text)))}
            self._messages.pop()
        self._messages.append(said | (self._thinking() if role == "assistant" else {}))

    def _call(self, item: Body) -> None:
        """Belongs to what the assistant has just said."""
        if not self._messages or self._messages[-1]["role"] != "assistant":
            self._messages.append({"role": "assistant"})
        given = item.get("arguments", "")
        arguments = wire.loads_object(given, "failed to parse function call arguments") if given else {}
        function = {"name": item.get("name", ""), "arguments": arguments}
        said = self._messages[-1] | self._thinking()
        calls = [*said.get("tool_calls", []), {"id": item.get("call_id", ""), "function": function}]
        self._messages[-1] = said | {"tool_calls": calls}

    def _thinking(self) -> Body:
        thought, self._thought = self._thought, ""
        return {"thinking": thought} if thought else {}


def _content(given: object, name: str) -> tuple[str, list[str]]:
    """The text and the images of a message, or of a call's output."""
    if isinstance(given, str):
        return given, []
    if not isinstance(given, list):
        reason = mismatch(given, "Go value of type []json.RawMessage").message
        raise BadRequestError(f"{name} must be a string or array: {reason}")
    text, images = "", []
    for index, raw in enumerate(given):
        part = checked(raw, _CONTENT, "a part", name)
        match part.get("type", ""):
            case "input_text" | "output_text":
                text += part.get("text", "")
            case "input_image":
                # One that is named by a file's id would be left out by Ollama, and nobody told.
                if not part.get("image_url"):
                    raise BadRequestError(f"{name}[{index}]: image files are not supported")
                images.append(media.of_url(part["image_url"]))
            case "input_file":
                raise BadRequestError("file inputs are not currently supported")
            case kind:
                raise BadRequestError(f"{name}[{index}]: unknown content type: {kind}")
    return text, images


def _tools(raw: object, namespace: str) -> list[Body]:
    """One tool, or those of a namespace, whose name then begins theirs."""
    tool = checked(raw, _TOOL, "Go struct field ResponsesRequest.tools of type openai.ResponsesTool", "tools")
    name = tool.get("name", "")
    if namespace and not name.startswith(f"{namespace}."):
        name = f"{namespace}.{name}"
    if tool.get("type") == "namespace":
        return [inner for member in tool.get("tools", []) for inner in _tools(member, name)]
    function = {"name": name or tool.get("type", ""), "description": tool.get("description", "")}
    return [{"type": "function", "function": function | {"parameters": tool.get("parameters", {})}}]
