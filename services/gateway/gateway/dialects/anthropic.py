"""Anthropic's messages as Ollama serves them. https://docs.anthropic.com/en/api/messages-streaming"""

import json
from typing import Any

import msgspec

from ..errors import GatewayError, QueueFull, UpstreamFailed
from .decoding import message_of, parsed
from .events import EventStream, data_of, name_of, named_event
from .usage import usage_of


class Event(msgspec.Struct):
    """The fields of an event that the gateway reads."""

    type: Any = None
    error: Any = None
    message: Any = None
    usage: Any = None


EVENTS = msgspec.json.Decoder(Event)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def own_id(request_id: str) -> str:
    """The request id in Anthropic's format, for the header `request-id` and for errors."""
    return request_id if request_id.startswith("req_") else f"req_{request_id}"


def http_status(error: GatewayError) -> int:
    """Anthropic has a status of its own for an overloaded server. https://docs.anthropic.com/en/api/errors"""
    return 529 if isinstance(error, QueueFull) and error.status == 503 else error.status


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(error.status, "api_error")
    detail = {"type": kind, "message": error.message}
    return {"type": "error", "error": detail, "request_id": own_id(request_id)}


def is_error_body(fields: dict[str, Any]) -> bool:
    return fields.get("type") == "error" and isinstance(fields.get("error"), dict)


class Messages(EventStream):
    """Named events, the last of which is message_stop."""

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._estimate: dict[str, Any] = {}
        self._last = b""  # the last event within the message

    def error(self, error: GatewayError, request_id: str) -> bytes:
        body = json.dumps(error_body(error, request_id)).encode()
        return b'event: error\ndata: %b\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n' % body

    def inspect(self, unit: bytes) -> None:
        event = self.read(EVENTS, unit)
        if event is None:
            return
        kind = event.type or name_of(unit).decode(errors="replace")
        if kind == "error" or event.error is not None:
            self.fail(UpstreamFailed(message_of(event.error)))
        elif kind == "message_stop":
            self.ended = True
        elif kind == "message_start" and isinstance(event.message, dict):
            # Its token counts are an estimate; message_delta has the final ones.
            self._estimate = _fields(event.message.get("usage"))
        elif kind == "message_delta":
            self.usage = usage_of({"usage": {**self._estimate, **_fields(event.usage)}})
        elif kind != "ping":
            self._last = unit

    def cut(self) -> bytes:
        end = {"type": "message_stop"}
        if self.usage:  # the message has its stop reason
            return named_event(end)
        last = parsed(data_of(self._last)) or {}
        events = []
        if last.get("type") in ("content_block_start", "content_block_delta"):
            events.append({"type": "content_block_stop", "index": last.get("index", 0)})
        delta = {"stop_reason": "max_tokens", "stop_sequence": None}
        usage = {**self._estimate, "output_tokens": self.events}
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
        return b"".join(map(named_event, [*events, end]))


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
