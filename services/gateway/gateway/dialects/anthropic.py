"""Anthropic's messages as Ollama serves them. https://docs.anthropic.com/en/api/messages-streaming"""

import json
from typing import Any

from ..errors import GatewayError, UpstreamFailed
from .events import EventStream, fields_of, name_of
from .stream import Usage

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}


class Messages(EventStream):
    """Named events, the last of which is message_stop."""

    marks = (b"message_start", b"message_delta", b"message_stop", b'"error"')

    def error(self, error: GatewayError, request_id: str) -> bytes:
        body = json.dumps(error_body(error, request_id)).encode()
        return b'event: error\ndata: %b\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n' % body

    def inspect(self, unit: bytes) -> None:
        name = name_of(unit)
        if name == b"message_stop":
            self.ended = True
        elif name in (b"message_start", b"message_delta"):
            fields = fields_of(unit) or {}
            usage = (fields.get("message") or fields).get("usage") or {}
            known = self.usage or Usage(0, 0)
            self.usage = Usage(
                usage.get("input_tokens", known.prompt_tokens),
                usage.get("output_tokens", known.output_tokens),
            )
        elif name in (b"error", b"message") and "error" in (fields := fields_of(unit) or {}):
            reason = fields["error"]
            self.fail(
                UpstreamFailed(str(reason.get("message", reason) if isinstance(reason, dict) else reason))
            )
