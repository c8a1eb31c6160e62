"""OpenAI's errors."""

from typing import Any

from ...errors import EmptyBodyError, EngineError
from ..gojson import codec

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


class OpenAIErrors:
    def body(self, error: EngineError) -> dict[str, Any]:
        message = "EOF" if isinstance(error, EmptyBodyError) else error.message
        kind = _TYPES.get(error.status, "api_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def event(self, error: EngineError) -> bytes:
        return b"data: " + codec.encode(self.body(error)) + b"\n\n"
