"""Ollama's own API, without I/O: llama.cpp's chunks in, Ollama's lines out."""

import json
import time
from typing import Any

from . import wire
from .durations import rfc3339
from .message import Chunk, Message
from .ollama_requests import Request

Line = dict[str, Any]


class Clock:
    """The times of a request that its last line reports."""

    def __init__(self) -> None:
        self.began = self.loaded = time.monotonic_ns()

    def mark_loaded(self) -> None:
        self.loaded = time.monotonic_ns()

    @property
    def load(self) -> int:
        return self.loaded - self.began

    @property
    def total(self) -> int:
        return time.monotonic_ns() - self.began


class Lines:
    """An answer as NDJSON. The subclasses know where a line keeps its text."""

    media_type = "application/x-ndjson"

    def __init__(self, request: Request, clock: Clock) -> None:
        self.message = Message()
        self.stream = request.stream
        self._model = request.model
        self._top_logprobs = request.top_logprobs
        self._clock = clock
        self._ending: Line = {}

    def part(self, message: Message) -> Line:
        raise NotImplementedError

    def feed(self, chunk: Chunk) -> bytes:
        """The lines that a chunk makes: none, one, or two."""
        new = self.message.add(chunk)
        # Ollama's clients get a call's arguments as an object, so a call leaves when it is whole.
        new.tool_calls = self.message.tool_calls if new.finish_reason else []
        data = b""
        if new.text or new.thinking or new.tool_calls:
            data = wire.line(self._line(new, {"done": False} | self._logprobs(new)))
        if new.finish_reason:
            self._ending = self._end(chunk)
            data += wire.line(self._line(Message(), self._ending))
        return data

    def whole(self) -> Line:
        """What all lines say together, for `stream: false`."""
        return self._line(self.message, self._ending | self._logprobs(self.message))

    def alone(self, reason: str) -> Line:
        """The answer to a request that only loads or unloads the model."""
        return self._line(Message(), {"done": True, "done_reason": reason})

    def _line(self, message: Message, rest: Line) -> Line:
        return {"model": self._model, "created_at": rfc3339(time.time_ns()), **self.part(message), **rest}

    def _end(self, chunk: Chunk) -> Line:
        timings = self.message.timings
        numbers = {
            "total_duration": self._clock.total,
            "load_duration": self._clock.load,
            "prompt_eval_count": self.message.prompt_tokens,
            "prompt_eval_duration": int(timings["prompt_ms"] * 10**6),
            "eval_count": self.message.output_tokens,
            "eval_duration": int(timings["predicted_ms"] * 10**6),
        }
        context = {"context": chunk["context"]} if "context" in chunk else {}
        reason = "length" if self.message.finish_reason == "length" else "stop"
        # Ollama leaves out numbers that are 0.
        return {"done": True, "done_reason": reason} | context | {k: v for k, v in numbers.items() if v}

    def _logprobs(self, message: Message) -> Line:
        entries = [_logprob(entry, self._top_logprobs) for entry in message.logprobs]
        return {"logprobs": entries} if entries else {}


class ChatLines(Lines):
    def part(self, message: Message) -> Line:
        said: Line = {"role": "assistant", "content": message.text}
        if message.thinking:
            said["thinking"] = message.thinking
        if message.tool_calls:
            said["tool_calls"] = [_tool_call(i, call) for i, call in enumerate(message.tool_calls)]
        return {"message": said}


class GenerateLines(Lines):
    def part(self, message: Message) -> Line:
        thinking = {"thinking": message.thinking} if message.thinking else {}
        return {"response": message.text} | thinking


def _tool_call(index: int, call: dict[str, Any]) -> Line:
    function = call["function"]
    arguments = json.loads(function["arguments"] or "{}")
    return {"id": call["id"], "function": {"index": index, "name": function["name"], "arguments": arguments}}


def _logprob(entry: dict[str, Any], top: int) -> Line:
    names = ("token", "logprob", "bytes")
    line = {name: entry[name] for name in names}
    if top:
        line["top_logprobs"] = [{n: other[n] for n in names} for other in entry["top_logprobs"][:top]]
    return line
