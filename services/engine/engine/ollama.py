"""Ollama's own API, without I/O: llama.cpp's chunks in, Ollama's lines out."""

import time
from typing import Any

from . import wire
from .durations import rfc3339
from .message import Chunk, Message, arguments
from .ollama_requests import Request

Line = dict[str, Any]


class Lines:
    """An answer as NDJSON. The subclasses know where a line keeps its text."""

    media_type = "application/x-ndjson"

    def __init__(self, request: Request) -> None:
        self.message = Message()
        # What only loads or unloads a model is one object, whatever was asked for.
        self.stream = request.stream and not request.loads
        self._model = request.model
        self._top_logprobs = request.top_logprobs
        self._clock = request.clock
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

    def prompt(self, text: str) -> Line:
        """Instead of an answer, what the model would be given."""
        return self._line(Message(), {"done": False, "_debug_info": {"rendered_template": text}})

    def _line(self, message: Message, rest: Line) -> Line:
        return {"model": self._model, "created_at": rfc3339(time.time_ns()), **self.part(message), **rest}

    def _end(self, chunk: Chunk) -> Line:
        if self.message.finish_reason in ("load", "unload"):
            return {"done": True, "done_reason": self.message.finish_reason}
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
        entries = [logprob(entry, self._top_logprobs) for entry in message.logprobs]
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
    named = {"index": index, "name": function["name"], "arguments": arguments(call)}
    return {"id": call["id"], "function": named}


def logprob(entry: dict[str, Any], top: int) -> Line:
    names = ("token", "logprob", "bytes")
    line = {name: entry[name] for name in names}
    if top:
        line["top_logprobs"] = [{n: other[n] for n in names} for other in entry["top_logprobs"][:top]]
    return line
