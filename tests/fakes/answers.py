"""One short answer in each wire format, as Ollama sends it."""

import json
from dataclasses import dataclass
from typing import Any

from .ollama import DONE, line


@dataclass(frozen=True)
class Answer:
    """`parts` and then `last` make a complete answer; `error` may come instead of `last`."""

    parts: tuple[bytes, ...]
    last: bytes
    error: bytes

    @property
    def whole(self) -> bytes:
        return b"".join(self.parts) + self.last


def compact(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def data(fields: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % compact(fields)


def event(fields: dict[str, Any]) -> bytes:
    return b"event: %b\n%b" % (fields["type"].encode(), data(fields))


def _chunk(content: str, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": reason}
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data({**head, "choices": [choice], **fields})


_NDJSON = Answer((line("Hello"), line(" \u2028é")), DONE, b'{"error":"out of memory"}\n')
_USAGE = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
_RESPONSE = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": []}

ANSWERS = {
    "ChatSSE": _NDJSON,
    "Ndjson": _NDJSON,
    "Completions": Answer(
        (_chunk("Hello"), _chunk(" [DONE] é"), _chunk("", "stop"), _chunk("", usage=_USAGE)),
        b"data: [DONE]\n\n",
        data({"error": {"message": "out of memory", "type": "api_error", "code": None}}),
    ),
    "Responses": Answer(
        (
            event({"type": "response.created", "sequence_number": 0, "response": _RESPONSE}),
            event(
                {
                    "type": "response.output_text.delta",
                    "sequence_number": 1,
                    "delta": "Hello response.completed",
                }
            ),
        ),
        event(
            {
                "type": "response.completed",
                "sequence_number": 2,
                "response": {
                    **_RESPONSE,
                    "status": "completed",
                    "usage": {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14},
                },
            }
        ),
        b"event: error\n" + data({"error": {"message": "out of memory"}}),
    ),
    "Messages": Answer(
        (
            event({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 11}}}),
            event({"type": "content_block_delta", "index": 0, "delta": {"text": "Hello message_stop"}}),
            event(
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
            ),
        ),
        event({"type": "message_stop"}),
        event({"type": "error", "error": {"type": "api_error", "message": "out of memory"}}),
    ),
}
