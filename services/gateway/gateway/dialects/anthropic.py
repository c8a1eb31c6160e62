"""Anthropic's messages as Ollama serves them. https://docs.anthropic.com/en/api/messages-streaming"""

import json
from typing import Any

from ..errors import GatewayError, UpstreamFailed
from .events import EventStream, fields_of, name_of
from .usage import usage_of

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
    """A request's id as Anthropic writes it, in the header `request-id` and in errors."""
    return request_id if request_id.startswith("req_") else f"req_{request_id}"


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(error.status, "api_error")
    told = {"type": kind, "message": error.message}
    return {"type": "error", "error": told, "request_id": own_id(request_id)}


class Messages(EventStream):
    """Named events, the last of which is message_stop."""

    marks = (b"message_start", b"message_delta", b"message_stop", b'"error"')

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._guess: dict[str, Any] = {}

    def error(self, error: GatewayError, request_id: str) -> bytes:
        body = json.dumps(error_body(error, request_id)).encode()
        return b'event: error\ndata: %b\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n' % body

    def inspect(self, unit: bytes) -> None:
        name = name_of(unit)
        if name == b"message_stop":
            self.ended = True
        elif name == b"message_start":
            # What it says of tokens is a guess, until message_delta says what it was.
            self._guess = ((fields_of(unit) or {}).get("message") or {}).get("usage") or {}
        elif name == b"message_delta":
            said = (fields_of(unit) or {}).get("usage") or {}
            self.usage = usage_of({"usage": {**self._guess, **said}})
        elif name in (b"error", b"message") and "error" in (fields := fields_of(unit) or {}):
            reason = fields["error"]
            self.fail(
                UpstreamFailed(str(reason.get("message", reason) if isinstance(reason, dict) else reason))
            )
