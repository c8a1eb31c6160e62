"""Renders answers of /v1/chat/completions and /v1/completions. No I/O: llama.cpp's chunks in, events out."""

import time
from typing import Any
from uuid import uuid4

from ...inference.message import Chunk, Message
from ..gojson import codec
from ..ollama.answers import logprob
from .completion_requests import ChatCompletionRequest, CompletionRequest

Body = dict[str, Any]


class Completion:
    """An answer. Subclasses know the shapes of the two APIs."""

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
        """What a chunk adds; each choice is sent in its own event."""
        raise NotImplementedError

    def choice(self) -> Body:
        """The whole answer."""
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
        self._opening: Body = {"role": "assistant"}

    def choices(self, new: Message) -> list[Body]:
        # Calls are sent once they are complete, as with Ollama.
        calls = self.message.tool_calls if new.finish_reason else []
        has_content = new.text or calls
        deltas: list[Body] = []
        if new.thinking:
            deltas.append({**({} if has_content else {"content": ""}), "reasoning": new.thinking})
        if has_content or new.logprobs or (new.finish_reason and self._opening):
            deltas.append({"content": new.text, **_calls(calls)})
        if deltas:
            deltas[0] = self._opening | deltas[0]
            self._opening = {}
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
        # Until the last event all counts are zero.
        zeros = {"usage": usage(Message())} if self._with_usage else {}
        return super()._chunk(choices) | zeros


def usage(message: Message) -> Body:
    """With the cached tokens, which Ollama reports from 0.33 on and clients look for."""
    prompt, output = message.prompt_tokens, message.output_tokens
    details = {"prompt_tokens_details": {"cached_tokens": message.cached_tokens}}
    counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return counts | details


def _calls(calls: list[Body]) -> Body:
    return {"tool_calls": [{"index": i, **call} for i, call in enumerate(calls)]} if calls else {}


def _event(value: object) -> bytes:
    return b"data: " + codec.encode(value) + b"\n\n"
