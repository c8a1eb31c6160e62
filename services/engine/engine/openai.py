"""OpenAI's chat completions and completions as Ollama serves them, without I/O: llama.cpp's chunks in."""

import time
from typing import Any
from uuid import uuid4

from . import wire
from .catalogue import Model
from .errors import EmptyBodyError, EngineError
from .message import Chunk, Message
from .ollama import logprob
from .openai_requests import ChatCompletionRequest, CompletionRequest

Body = dict[str, Any]

_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


class OpenAI:
    def error(self, error: EngineError) -> Body:
        message = "EOF" if isinstance(error, EmptyBodyError) else error.message
        kind = _ERROR_TYPES.get(error.status, "api_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def error_event(self, error: EngineError) -> bytes:
        return _event(self.error(error))


class Completion:
    """An answer. Its subclasses know the shapes of the two APIs."""

    media_type = "text/event-stream"
    prefix: str
    kind: str
    chunk_kind: str

    def __init__(self, request: ChatCompletionRequest | CompletionRequest) -> None:
        self.message = Message()
        self.stream = request.stream
        self._with_usage = request.with_usage
        self._head = {"id": f"{self.prefix}-{uuid4().hex}", "created": int(time.time())}
        self._head |= {"model": request.model, "system_fingerprint": "fp_ollama"}

    def feed(self, chunk: Chunk) -> bytes:
        new = self.message.add(chunk)
        choices = self.choices(new)
        data = b"".join(_event(self._chunk([choice])) for choice in choices)
        if new.finish_reason:
            if self._with_usage:
                data += _event(self._chunk([]) | {"usage": usage(self.message)})
            data += b"data: [DONE]\n\n"
        return data

    def whole(self) -> Body:
        return {**self._head, "object": self.kind, "choices": [self.choice()], "usage": usage(self.message)}

    def choices(self, new: Message) -> list[Body]:
        """What a chunk adds, each in an event of its own."""
        raise NotImplementedError

    def choice(self) -> Body:
        """All of it."""
        raise NotImplementedError

    def _chunk(self, choices: list[Body]) -> Body:
        return {**self._head, "object": self.chunk_kind, "choices": choices}


class ChatCompletion(Completion):
    prefix = "chatcmpl"
    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, request: ChatCompletionRequest) -> None:
        super().__init__(request)
        self._top_logprobs = request.top_logprobs
        self._first: Body = {"role": "assistant"}

    def choices(self, new: Message) -> list[Body]:
        # A call leaves when it is whole, as with Ollama.
        calls = self.message.tool_calls if new.finish_reason else []
        said = new.text or calls
        deltas: list[Body] = []
        if new.thinking:
            deltas.append({**({} if said else {"content": ""}), "reasoning": new.thinking})
        if said or new.logprobs or (new.finish_reason and self._first):
            deltas.append({"content": new.text, **_calls(calls)})
        if deltas:
            deltas[0] = self._first | deltas[0]
            self._first = {}
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        if choices and new.logprobs:
            choices[0] |= self._logprobs(new)
        end = [{"index": 0, "delta": {}, "finish_reason": self._reason()}] if new.finish_reason else []
        return choices + end

    def choice(self) -> Body:
        message: Body = {"role": "assistant", "content": self.message.text}
        if self.message.thinking:
            message["reasoning"] = self.message.thinking
        message |= _calls(self.message.tool_calls)
        choice = {"index": 0, "message": message, "finish_reason": self._reason()}
        return choice | self._logprobs(self.message)

    def _reason(self) -> str | None:
        reason = self.message.finish_reason
        return "tool_calls" if reason == "stop" and self.message.tool_calls else reason

    def _logprobs(self, message: Message) -> Body:
        entries = [logprob(entry, self._top_logprobs) for entry in message.logprobs]
        return {"logprobs": {"content": entries}} if entries else {}


class TextCompletion(Completion):
    prefix = "cmpl"
    kind = chunk_kind = "text_completion"

    def choices(self, new: Message) -> list[Body]:
        return [{"text": new.text, "index": 0, "finish_reason": new.finish_reason}]

    def choice(self) -> Body:
        return {"text": self.message.text, "index": 0, "finish_reason": self.message.finish_reason}

    def _chunk(self, choices: list[Body]) -> Body:
        none = {"usage": usage(Message())} if self._with_usage else {}
        return super()._chunk(choices) | none


def usage(message: Message) -> Body:
    """With what came from the cache, which Ollama tells from 0.33 on and clients look for."""
    prompt, output = message.prompt_tokens, message.output_tokens
    details = {"prompt_tokens_details": {"cached_tokens": message.cached_tokens}}
    counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return counts | details


def _calls(calls: list[Body]) -> Body:
    return {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]} if calls else {}


def _event(value: object) -> bytes:
    return b"data: " + wire.dumps(value) + b"\n\n"


def model_object(model: Model) -> Body:
    """An entry of /v1/models."""
    created = model.modified_ns // 10**9
    return {"id": model.name.short, "object": "model", "created": created, "owned_by": model.name.namespace}
