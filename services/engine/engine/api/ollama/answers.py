"""Renders answers of /api/chat and /api/generate. No I/O: llama.cpp's chunks in, NDJSON out."""

import time
from typing import Any

from ...inference.message import Chunk, Message, call_arguments
from ..gojson import codec
from ..timing import rfc3339
from .requests import AnswerRequest

Line = dict[str, Any]


class Lines:
    """An answer as NDJSON. Subclasses know which field of a line has the text."""

    media_type = "application/x-ndjson"

    def __init__(self, request: AnswerRequest) -> None:
        self.message = Message()
        # Loading and unloading are answered with one object, even if a stream was requested.
        self.stream = request.stream and not request.only_loads
        self._model = request.model
        self._top_logprobs = request.top_logprobs
        self._timing = request.timing
        self._last: Line = {}

    def text_fields(self, message: Message) -> Line:
        raise NotImplementedError

    def feed(self, chunk: Chunk) -> bytes:
        """The lines for a chunk: none, one or two."""
        new = self.message.add(chunk)
        # A call's arguments are one object here, so calls are sent once they are complete.
        new.tool_calls = self.message.tool_calls if new.finish_reason else []
        data = b""
        if new.text or new.thinking or new.tool_calls:
            data = codec.encode_line(self._line(new, {"done": False} | self._logprobs(new)))
        if new.finish_reason:
            self._last = self._end(chunk)
            data += codec.encode_line(self._line(Message(), self._last))
        return data

    def whole(self) -> Line:
        """The whole answer as one line, for `stream: false`."""
        return self._line(self.message, self._last | self._logprobs(self.message))

    def rendered_prompt(self, prompt: str) -> Line:
        """Instead of an answer, the prompt that the model would get."""
        return self._line(Message(), {"done": False, "_debug_info": {"rendered_template": prompt}})

    def _line(self, message: Message, rest: Line) -> Line:
        return {
            "model": self._model,
            "created_at": rfc3339(time.time_ns()),
            **self.text_fields(message),
            **rest,
        }

    def _end(self, chunk: Chunk) -> Line:
        if self.message.finish_reason in ("load", "unload"):
            return {"done": True, "done_reason": self.message.finish_reason}
        timings = self.message.timings
        numbers = {
            "total_duration": self._timing.total,
            "load_duration": self._timing.load,
            "prompt_eval_count": self.message.prompt_tokens,
            "prompt_eval_duration": int(timings["prompt_ms"] * 10**6),
            "eval_count": self.message.output_tokens,
            "eval_duration": int(timings["predicted_ms"] * 10**6),
        }
        context = {"context": chunk["context"]} if "context" in chunk else {}
        reason = "length" if self.message.finish_reason == "length" else "stop"
        # Ollama leaves out zeros.
        return {"done": True, "done_reason": reason} | context | {k: v for k, v in numbers.items() if v}

    def _logprobs(self, message: Message) -> Line:
        entries = [logprob(entry, self._top_logprobs) for entry in message.logprobs]
        return {"logprobs": entries} if entries else {}


class ChatLines(Lines):
    def text_fields(self, message: Message) -> Line:
        fields: Line = {"role": "assistant", "content": message.text}
        if message.thinking:
            fields["thinking"] = message.thinking
        if message.tool_calls:
            fields["tool_calls"] = [_tool_call(i, call) for i, call in enumerate(message.tool_calls)]
        return {"message": fields}


class GenerateLines(Lines):
    def text_fields(self, message: Message) -> Line:
        thinking = {"thinking": message.thinking} if message.thinking else {}
        return {"response": message.text} | thinking


def _tool_call(index: int, call: dict[str, Any]) -> Line:
    function = call["function"]
    rendered = {"index": index, "name": function["name"], "arguments": call_arguments(call)}
    return {"id": call["id"], "function": rendered}


def logprob(entry: dict[str, Any], top: int) -> Line:
    """Ollama's fields of a token's log probability, with the `top` most likely tokens."""
    names = ("token", "logprob", "bytes")
    line = {name: entry[name] for name in names}
    if top:
        line["top_logprobs"] = [{n: other[n] for n in names} for other in entry["top_logprobs"][:top]]
    return line
