"""OpenAI's chat completions and completions as Ollama serves them, without I/O."""

from typing import Any

from . import wire
from .catalogue import Model
from .errors import BadRequestError, EmptyBodyError, EngineError
from .fields import Fields, checked
from .message import Chunk, Message

Body = dict[str, Any]

_SHARED: Fields = {"model": "string", "stream": "bool", "stream_options": "openai.StreamOptions"}
_CHAT: Fields = {**_SHARED, "messages": "[]openai.Message", "tools": "[]api.Tool"}
_COMPLETION: Fields = {**_SHARED, "prompt": "string"}
_MESSAGE: Fields = {"role": "string"}

# What is passed on. The rest could change what the engine relies on (which slot, how many answers,
# streaming) and is ignored, as Ollama ignores it.
_SAMPLING = {"temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias"}
_PASSED = _SAMPLING | {"max_tokens", "max_completion_tokens", "logprobs", "top_logprobs", "response_format"}
_PASSED |= {"messages", "prompt", "tools", "tool_choice", "chat_template_kwargs"}
# Ollama's, where they differ from llama.cpp's.
_DEFAULTS: Body = {"temperature": 1.0, "top_p": 1.0, "min_p": 0.0}

_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


class OpenAI:
    def error(self, error: EngineError) -> Body:
        message = "EOF" if isinstance(error, EmptyBodyError) else error.message
        kind = _ERROR_TYPES.get(error.status, "api_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def error_event(self, error: EngineError) -> bytes:
        return _event(self.error(error))


class Completion:
    """A request and its answer. Its subclasses know the shapes of the two APIs."""

    media_type = "text/event-stream"
    kind: str
    verb: str

    def __init__(self, body: Body) -> None:
        self.message = Message()
        self.model: str = body.get("model", "")
        self.stream: bool = body.get("stream", False)
        self._with_usage = bool(body.get("stream_options", {}).get("include_usage"))
        self._body = body
        self._head: Body = {}
        if not self.model:
            raise BadRequestError("model is required")

    def check(self, model: Model) -> None:
        if "completion" not in model.capabilities:
            raise BadRequestError(f'"{self.model}" does not support {self.verb}')
        if self._body.get("tools") and "tools" not in model.capabilities:
            raise BadRequestError(f"{model.name.full} does not support tools")

    def llama(self) -> Body:
        return _DEFAULTS | {name: value for name, value in self._body.items() if name in _PASSED}

    def feed(self, chunk: Chunk) -> bytes:
        self.message.add(chunk)
        names = ("id", "object", "created")
        self._head = {name: chunk[name] for name in names} | {"model": self.model}
        self._head["system_fingerprint"] = "fp_ollama"
        data = _event({**self._head, "choices": [_renamed(choice) for choice in chunk["choices"]]})
        if self.message.finish_reason:
            if self._with_usage:
                data += _event({**self._head, "choices": [], "usage": self._usage()})
            data += b"data: [DONE]\n\n"
        return data

    def whole(self) -> Body:
        choice = {"index": 0, **self.said(), "finish_reason": self.message.finish_reason}
        if self.message.logprobs:
            choice["logprobs"] = {"content": self.message.logprobs}
        return {**self._head, "object": self.kind, "choices": [choice], "usage": self._usage()}

    def said(self) -> Body:
        raise NotImplementedError

    def _usage(self) -> Body:
        prompt, output = self.message.prompt_tokens, self.message.output_tokens
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


class ChatCompletion(Completion):
    kind = "chat.completion"
    verb = "chat"

    def __init__(self, raw: object) -> None:
        target = "ChatCompletionRequest"
        body = checked(raw, _CHAT, f"Go value of type openai.{target}", target)
        if not body.get("messages"):
            raise BadRequestError("[] is too short - 'messages'")
        for message in body["messages"]:
            prefix = f"{target}.messages"
            if "role" not in checked(
                message, _MESSAGE, f"Go struct field {prefix} of type openai.Message", prefix
            ):
                raise BadRequestError("a message needs a role")
        super().__init__(body)

    def said(self) -> Body:
        message: Body = {"role": "assistant", "content": self.message.text}
        if self.message.thinking:
            message["reasoning"] = self.message.thinking
        if self.message.tool_calls:
            message["tool_calls"] = self.message.tool_calls
        return {"message": message}


class TextCompletion(Completion):
    kind = "text_completion"
    path = "/v1/completions"
    verb = "generate"

    def __init__(self, raw: object) -> None:
        body = checked(raw, _COMPLETION, "Go value of type openai.CompletionRequest", "CompletionRequest")
        super().__init__({"prompt": "", **body})

    def said(self) -> Body:
        return {"text": self.message.text}


def _renamed(choice: Body) -> Body:
    """Ollama calls what llama.cpp calls reasoning_content reasoning."""
    if "reasoning_content" in choice.get("delta", {}):
        delta = dict(choice["delta"])
        delta["reasoning"] = delta.pop("reasoning_content")
        return {**choice, "delta": delta}
    return choice


def _event(value: object) -> bytes:
    return b"data: " + wire.dumps(value) + b"\n\n"


def model_object(model: Model) -> Body:
    """An entry of /v1/models."""
    created = model.modified_ns // 10**9
    return {"id": model.name.short, "object": "model", "created": created, "owned_by": model.name.namespace}
