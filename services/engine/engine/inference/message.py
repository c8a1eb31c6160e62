"""The assistant's message, assembled from llama.cpp's chunks."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from ..errors import EngineError

Chunk = dict[str, Any]
"""A chunk of llama.cpp's /v1/chat/completions stream, the one form that all APIs are rendered from."""

Chunks = AsyncGenerator[Chunk, None]


@dataclass(slots=True)
class Message:
    text: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    timings: dict[str, float] = field(default_factory=dict)
    chunks: int = 0

    def add(self, chunk: Chunk) -> "Message":
        """Adds a chunk and returns what is new in it."""
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta", {})
            new = Message(
                text=delta.get("content") or choice.get("text") or "",
                thinking=delta.get("reasoning_content") or "",
                tool_calls=delta.get("tool_calls") or [],
                logprobs=(choice.get("logprobs") or {}).get("content") or [],
                finish_reason=choice.get("finish_reason"),
                timings=chunk.get("timings", {}),
            )
            self._merge(new)
            return new
        return Message()

    def _merge(self, new: "Message") -> None:
        self.text += new.text
        self.thinking += new.thinking
        self.logprobs += new.logprobs
        self.finish_reason = new.finish_reason or self.finish_reason
        self.timings = new.timings or self.timings
        self.chunks += 1
        for part in new.tool_calls:
            self._merge_tool_call(part)

    def _merge_tool_call(self, part: dict[str, Any]) -> None:
        """The first part of a call has its name, the following ones continue its arguments."""
        function = part.get("function", {})
        if part["index"] == len(self.tool_calls):
            call = {"name": function["name"], "arguments": ""}
            self.tool_calls.append({"id": part.get("id", ""), "type": "function", "function": call})
        self.tool_calls[part["index"]]["function"]["arguments"] += function.get("arguments", "")

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, including those that the slot still had in its cache."""
        return int(self.timings.get("cache_n", 0) + self.timings.get("prompt_n", 0))

    @property
    def cached_tokens(self) -> int:
        return int(self.timings.get("cache_n", 0))

    @property
    def output_tokens(self) -> int:
        """llama.cpp's count; the number of chunks for an answer that was cut off."""
        return int(self.timings.get("predicted_n", self.chunks))


def chat_chunk(chunk: Chunk) -> Chunk:
    """Converts a chunk of /completion to the form of a chat chunk."""
    reason = {"limit": "length"}.get(chunk["stop_type"], "stop") if chunk["stop"] else None
    choice = {
        "delta": {"content": chunk["content"]},
        "logprobs": {"content": chunk.get("completion_probabilities")},
        "finish_reason": reason,
    }
    return {"choices": [choice], "timings": chunk.get("timings", {})}


def call_arguments(call: dict[str, Any]) -> dict[str, Any]:
    """A tool call's arguments as an object. Raises EngineError if the answer ended within them."""
    function = call["function"]
    try:
        arguments: dict[str, Any] = json.loads(function["arguments"] or "{}")
    except ValueError:
        raise EngineError(f"the arguments of the call to {function['name']!r} are incomplete") from None
    return arguments


async def empty_answer(finish_reason: str) -> Chunks:
    """The chunks of an answer without text; its finish reason is `load` or `unload`."""
    timings = {"predicted_n": 0}
    yield {"choices": [{"delta": {}, "finish_reason": finish_reason}], "timings": timings}
