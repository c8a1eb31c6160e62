"""A whole answer, folded from llama.cpp's chunks."""

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from .errors import EngineError

Chunk = dict[str, Any]
"""A chunk of llama.cpp's /v1/chat/completions stream, the one form that the dialects know."""


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
        """Takes in a chunk and returns what is new in it."""
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
        """The first part of a call has its name, the following ones go on with its arguments."""
        function = part.get("function", {})
        if part["index"] == len(self.tool_calls):
            call = {"name": function["name"], "arguments": ""}
            self.tool_calls.append({"id": part.get("id", ""), "type": "function", "function": call})
        self.tool_calls[part["index"]]["function"]["arguments"] += function.get("arguments", "")

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt, also those that were still in the slot from an earlier one."""
        return int(self.timings.get("cache_n", 0) + self.timings.get("prompt_n", 0))

    @property
    def cached_tokens(self) -> int:
        return int(self.timings.get("cache_n", 0))

    @property
    def output_tokens(self) -> int:
        """As llama.cpp counted; of an answer that was cut off, the chunks that came."""
        return int(self.timings.get("predicted_n", self.chunks))


def from_completion(chunk: Chunk) -> Chunk:
    """A chunk of /completion in the form of a chat chunk."""
    reason = {"limit": "length"}.get(chunk["stop_type"], "stop") if chunk["stop"] else None
    choice = {
        "delta": {"content": chunk["content"]},
        "logprobs": {"content": chunk.get("completion_probabilities")},
        "finish_reason": reason,
    }
    return {"choices": [choice], "timings": chunk.get("timings", {})}


def arguments(call: dict[str, Any]) -> dict[str, Any]:
    """What a call's function is given, as an object."""
    function = call["function"]
    try:
        given: dict[str, Any] = json.loads(function["arguments"] or "{}")
    except ValueError:
        raise EngineError(f"the arguments of the call of {function['name']!r} are not whole") from None
    return given


async def only(finish_reason: str) -> AsyncGenerator[Chunk, None]:
    """The chunks of an answer without text: `load`, `unload`."""
    timings = {"predicted_n": 0}
    yield {"choices": [{"delta": {}, "finish_reason": finish_reason}], "timings": timings}
