"""Requests of /api/chat and /api/generate: checks them and converts them for llama.cpp."""

import json
from typing import Any

from ...durations import keep_alive_seconds
from ...errors import BadRequestError, ContextOverflowError, EngineError, ModelNotFoundError
from ...inference import generation
from ...inference.client import LlamaClient
from ...inference.message import Chunks
from ...models.model import Model
from .. import limits
from ..gojson.structs import Fields, checked, mismatch
from ..timing import Timing
from .messages import check_images, checked_message, llama_message, llama_tool
from .options import checked_options, context_size, sampling

Body = dict[str, Any]

_SHARED: Fields = {
    "model": "string",
    "stream": "bool",
    "format": "any",
    "keep_alive": "any",
    "options": "map[string]interface {}",
    "think": "any",
    "truncate": "bool",
    "shift": "bool",
    "logprobs": "bool",
    "top_logprobs": "int",
    "_debug_render_only": "bool",
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

_EFFORTS = ("high", "medium", "low", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'


class AnswerRequest:
    """What /api/chat and /api/generate have in common."""

    verb: str
    only_loads: bool
    """Has nothing to answer: it only loads the model, or unloads it if `keep_alive` is 0."""
    has_media: bool

    def __init__(self, body: Body) -> None:
        self.timing = Timing()
        self.model: str = body.get("model", "")
        self.stream: bool = body.get("stream", True)
        self.truncate: bool = body.get("truncate", True)
        self.prompt_only: bool = body.get("_debug_render_only", False)
        self.top_logprobs: int = body.get("top_logprobs", 0)
        self.keep_alive = keep_alive_seconds(body["keep_alive"]) if "keep_alive" in body else None
        self._body = body
        self._think: bool | str | None = body.get("think")
        if self._think is not None:
            _check_think(self._think)
        if not 0 <= self.top_logprobs <= 20:
            raise BadRequestError("top_logprobs must be between 0 and 20")

    def check(self, model: Model) -> None:
        """Refuses what the model can't do, then parses the options: Ollama's order."""
        if "completion" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support {self.verb}')
        if self._body.get("tools") and "tools" not in model.capabilities:
            raise BadRequestError(f"{model.name.full} does not support tools")
        if self._think and "thinking" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support thinking')
        self.options = checked_options(self._body.get("options", {}))
        self.num_ctx = context_size(self.options)
        if self.has_media and not self.only_loads:
            raise BadRequestError(f"{model.name.full} does not support images or audio")

    def chunks(self, llama: LlamaClient, num_ctx: int) -> Chunks:
        """Generates the answer."""
        raise NotImplementedError

    def template_body(self) -> Body:
        """The body for llama.cpp's /apply-template."""
        raise NotImplementedError

    def _template_arguments(self) -> Body:
        """The fields that affect how the chat template is applied."""
        arguments: Body = {}
        if (response_format := _response_format(self._body.get("format"))) is not None:
            arguments["response_format"] = response_format
        if self._think is not None:
            effort = {"reasoning_effort": self._think} if isinstance(self._think, str) else {}
            arguments["chat_template_kwargs"] = {"enable_thinking": bool(self._think), **effort}
        return arguments


class ChatRequest(AnswerRequest):
    verb = "chat"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _CHAT, "Go value of type api.ChatRequest", "ChatRequest")
        limits.check_messages(body.get("messages", []))
        messages = [checked_message(message) for message in body.get("messages", [])]
        self.messages = [llama_message(message) for message in messages]
        self.has_media = any(message.get("images") for message in messages)
        self.only_loads = not messages
        self._tools = [llama_tool(tool) for tool in body.get("tools", [])]
        super().__init__(body)
        if not self.model:
            raise BadRequestError("model is required")

    def chunks(self, llama: LlamaClient, num_ctx: int) -> Chunks:
        return generation.chat(llama, self, num_ctx)

    def llama_body(self) -> Body:
        """The body for llama.cpp's /v1/chat/completions."""
        # With top_logprobs 0 llama.cpp leaves out the chosen token too.
        top = max(self.top_logprobs, 1)
        logprobs = {"logprobs": True, "top_logprobs": top} if self._body.get("logprobs") else {}
        return {**self.template_body(), **sampling(self.options), **logprobs}

    def template_body(self) -> Body:
        tools = {"tools": self._tools} if self._tools else {}
        return {"messages": self.messages, **tools, **self._template_arguments()}


class GenerateRequest(AnswerRequest):
    verb = "generate"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _GENERATE, "Go value of type api.GenerateRequest", "GenerateRequest")
        check_images(body.get("images", []), "GenerateRequest.images")
        super().__init__(body)
        # /api/chat answers differently if the name is missing.
        if not self.model:
            raise ModelNotFoundError(self.model)
        self.prompt: str = body.get("prompt", "")
        self.raw: bool = body.get("raw", False)
        self.context: list[int] = body.get("context", [])
        self.has_media = bool(body.get("images"))
        self.only_loads = not self.prompt
        for token in self.context:
            if not isinstance(token, int):
                raise mismatch(token, "Go struct field GenerateRequest.context of type int")

    def check(self, model: Model) -> None:
        super().check(model)
        if self.raw and (self._body.get("system") or self._body.get("template") or self.context):
            raise BadRequestError("raw mode does not support template, system, or context")
        if self._body.get("suffix"):
            raise BadRequestError(f"{model.name.full} does not support insert")
        if self._body.get("template"):
            raise BadRequestError("template is not supported: the model's own is always used")

    def chunks(self, llama: LlamaClient, num_ctx: int) -> Chunks:
        return generation.complete(llama, self, num_ctx)

    def template_body(self) -> Body:
        system = [{"role": "system", "content": self._body["system"]}] if self._body.get("system") else []
        messages = [*system, {"role": "user", "content": self.prompt}]
        return {"messages": messages, **self._template_arguments()}

    def llama_body(self, tokens: list[int]) -> Body:
        """The body for llama.cpp's /completion."""
        schema = {}
        if (response_format := _response_format(self._body.get("format"))) is not None:
            schema["json_schema"] = response_format.get("json_schema", {}).get("schema", {})
        # llama.cpp's n_probs includes the chosen token.
        n_probs = max(self.top_logprobs, 1) if self._body.get("logprobs") else 0
        return {"prompt": tokens, "n_probs": n_probs, **schema, **sampling(self.options)}

    def fit_prompt(self, count: int, num_ctx: int) -> tuple[int, int]:
        """How many of the first and of the last tokens of a prompt of `count` tokens are evaluated.

        A prompt that fills the context loses its middle: besides the first `num_keep` tokens it keeps half of
        the remaining context, the other half is for the answer. Raises BadRequestError if it must stay whole.
        """
        if count < num_ctx:
            return count, 0
        if not self.truncate:
            raise ContextOverflowError(count, num_ctx)
        if not self._body.get("shift", True):
            raise BadRequestError(
                "the prompt is longer than the context length currently available to the model; shorten the "
                "prompt, adjust the context length in settings, or use a model with a longer context length"
            )
        keep = self.options.get("num_keep", 4)
        head = min(keep if keep >= 0 else count, num_ctx - 1)
        return head, num_ctx - max((num_ctx - head) // 2, 1) - head


class FormatError(EngineError):
    """The format is invalid. Ollama checks it only once the model is loaded, and answers 500."""


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
