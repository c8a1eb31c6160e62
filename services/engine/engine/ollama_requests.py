"""Ollama's requests: what they may hold, and what llama.cpp is asked for them."""

import base64
import binascii
import json
from typing import Any

from .catalogue import Model
from .durations import keep_alive_seconds
from .errors import BadRequestError, EngineError, ModelNotFoundError
from .fields import Fields, checked
from .names import parse_name
from .options import checked_options, context_size, sampling

Body = dict[str, Any]

_SHARED: Fields = {
    "model": "string",
    "stream": "bool",
    "options": "map[string]interface {}",
    "logprobs": "bool",
    "top_logprobs": "int",
    "truncate": "bool",
}
_CHAT: Fields = {**_SHARED, "messages": "[]api.Message", "tools": "[]api.Tool"}
_GENERATE: Fields = {
    **_SHARED,
    "prompt": "string",
    "suffix": "string",
    "system": "string",
    "template": "string",
    "context": "[]int",
    "raw": "bool",
    "images": "[]api.ImageData",
}
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
_FUNCTION: Fields = {"name": "string", "arguments": "api.ToolCallFunctionArguments"}

_EFFORTS = ("high", "medium", "low", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'


class Request:
    """What /api/chat and /api/generate have in common."""

    verb: str

    def __init__(self, body: Body) -> None:
        self.model: str = body.get("model", "")
        self.stream: bool = body.get("stream", True)
        self.truncate: bool = body.get("truncate", True)
        self.top_logprobs: int = body.get("top_logprobs", 0)
        self.keep_alive = keep_alive_seconds(body["keep_alive"]) if "keep_alive" in body else None
        self._body = body
        self._think: bool | str | None = body.get("think")
        if self._think is not None:
            _check_think(self._think)
        if not 0 <= self.top_logprobs <= 20:
            raise BadRequestError("top_logprobs must be between 0 and 20")

    def check(self, model: Model) -> None:
        """Refuses what this model can't do; then reads the options, in the order of Ollama."""
        if "completion" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support {self.verb}')
        if self._body.get("tools") and "tools" not in model.capabilities:
            raise BadRequestError(f"{model.name.full} does not support tools")
        if self._think and "thinking" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support thinking')
        self.options = checked_options(self._body.get("options", {}))
        self.num_ctx = context_size(self.options)

    def _template_arguments(self) -> Body:
        """Whatever takes part in applying the chat template."""
        arguments: Body = {}
        if (response_format := _response_format(self._body.get("format"))) is not None:
            arguments["response_format"] = response_format
        if self._think is not None:
            arguments["chat_template_kwargs"] = {"enable_thinking": bool(self._think)}
        return arguments


class ChatRequest(Request):
    verb = "chat"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _CHAT, "Go value of type api.ChatRequest", "ChatRequest")
        self.messages = [_message(message) for message in body.get("messages", [])]
        super().__init__(body)
        if not self.model:
            raise BadRequestError("model is required")

    def llama(self) -> Body:
        """The body for llama.cpp's /v1/chat/completions."""
        # Without any likely tokens llama.cpp leaves out the chosen one too.
        top = max(self.top_logprobs, 1)
        logprobs = {"logprobs": True, "top_logprobs": top} if self._body.get("logprobs") else {}
        tools = {"tools": self._body["tools"]} if self._body.get("tools") else {}
        return {
            "messages": self.messages,
            **tools,
            **self._template_arguments(),
            **sampling(self.options),
            **logprobs,
        }


class GenerateRequest(Request):
    verb = "generate"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _GENERATE, "Go value of type api.GenerateRequest", "GenerateRequest")
        _check_images(body.get("images", []))
        super().__init__(body)
        # /api/chat has another answer to a name that can't be one.
        if parse_name(self.model) is None:
            raise ModelNotFoundError(self.model)
        self.prompt: str = body.get("prompt", "")
        self.raw: bool = body.get("raw", False)
        self.context: list[int] = body.get("context", [])
        if not all(isinstance(token, int) for token in self.context):
            raise BadRequestError("context must be an array of integers")

    def check(self, model: Model) -> None:
        super().check(model)
        if self.raw and (self._body.get("system") or self._body.get("template") or self.context):
            raise BadRequestError("raw mode does not support template, system, or context")
        if self._body.get("suffix"):
            raise BadRequestError(f"{model.name.full} does not support insert")
        if self._body.get("template"):
            raise BadRequestError("template is not supported: the model's own is always used")

    def template(self) -> Body:
        """The body for llama.cpp's /apply-template."""
        system = [{"role": "system", "content": self._body["system"]}] if self._body.get("system") else []
        messages = [*system, {"role": "user", "content": self.prompt}]
        return {"messages": messages, **self._template_arguments()}

    def llama(self, tokens: list[int]) -> Body:
        """The body for llama.cpp's /completion."""
        schema = {}
        if (response_format := _response_format(self._body.get("format"))) is not None:
            schema["json_schema"] = response_format.get("json_schema", {}).get("schema", {})
        # llama.cpp counts the most likely tokens among these, the chosen one included.
        n_probs = max(self.top_logprobs, 1) if self._body.get("logprobs") else 0
        return {"prompt": tokens, "n_probs": n_probs, **schema, **sampling(self.options)}


def fitted(tokens: list[int], num_ctx: int, keep: int) -> list[int]:
    """The prompt without what a full context would lose: its middle, after the first `keep`."""
    room = num_ctx - 1
    if len(tokens) <= room:
        return tokens
    keep = min(keep, room)
    return tokens[:keep] + tokens[len(tokens) - (room - keep) :]


def shortened(messages: list[Body]) -> list[Body]:
    """Without the oldest message that is neither a system message nor the last."""
    for index, message in enumerate(messages[:-1]):
        if message["role"] != "system":
            return messages[:index] + messages[index + 1 :]
    raise ContextOverflowError


class ContextOverflowError(BadRequestError):
    def __init__(self) -> None:
        super().__init__("the input length exceeds the context length")


class FormatError(EngineError):
    """Ollama finds these only when the model is loaded, and answers 500."""


def _response_format(value: object) -> Body | None:
    if value is None or value == "":
        return None
    if value == "json":
        return {"type": "json_object"}
    if isinstance(value, dict):
        return {"type": "json_schema", "json_schema": {"schema": value}}
    text = json.dumps(json.dumps(value, separators=(",", ":")))
    raise FormatError(f'invalid format: {text}; expected "json" or a valid JSON Schema object')


def _check_think(value: object) -> None:
    if isinstance(value, str) and value not in _EFFORTS:
        raise BadRequestError(f'invalid think value: "{value}" (must be {_THINK_VALUES})')
    if not isinstance(value, bool | str):
        raise BadRequestError(f"think must be a boolean or string ({_THINK_VALUES})")


def _check_images(images: list[object]) -> None:
    """A model without eyes ignores them, but they must be base64."""
    for image in images:
        try:
            base64.b64decode(image if isinstance(image, str) else "!", validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadRequestError("illegal base64 data at input byte 0") from error


def _message(raw: object) -> Body:
    """One of Ollama's messages as one of OpenAI's."""
    prefix = "ChatRequest.messages"
    message = checked(raw, _MESSAGE, f"Go struct field {prefix} of type api.Alias", prefix)
    _check_images(message.get("images", []))
    renamed = {"thinking": "reasoning_content", "tool_name": "name", "tool_call_id": "tool_call_id"}
    calls = [_call(call, f"{prefix}.tool_calls") for call in message.get("tool_calls", [])]
    return {
        "role": message.get("role", ""),
        "content": message.get("content", ""),
        **{new: message[old] for old, new in renamed.items() if old in message},
        **({"tool_calls": calls} if calls else {}),
    }


def _call(raw: object, prefix: str) -> Body:
    call = checked(raw, _CALL, f"Go struct field {prefix} of type api.ToolCall", prefix)
    function = checked(call.get("function"), _FUNCTION, "", f"{prefix}.function")
    arguments = json.dumps(function.get("arguments", {}))
    return {
        "id": call.get("id", ""),
        "type": "function",
        "function": {"name": function.get("name", ""), "arguments": arguments},
    }
