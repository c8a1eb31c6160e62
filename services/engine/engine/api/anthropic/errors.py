"""Anthropic's errors."""

from typing import Any
from uuid import uuid4

from ...errors import EmptyBodyError, EngineError
from ..gojson import codec

_TYPES = {
    400: "invalid_request_error",
    403: "permission_error",
    404: "not_found_error",
    503: "overloaded_error",
}


class AnthropicErrors:
    def body(self, error: EngineError) -> dict[str, Any]:
        message = "EOF" if isinstance(error, EmptyBodyError) else error.message
        kind = _TYPES.get(error.status, "api_error")
        return {
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": f"req_{uuid4().hex[:24]}",
        }

    def event(self, error: EngineError) -> bytes:
        return b"event: error\ndata: " + codec.encode(self.body(error)) + b"\n\n"
