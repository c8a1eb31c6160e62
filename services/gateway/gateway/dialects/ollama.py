"""Ollama's own API: NDJSON, passed on as it comes. https://docs.ollama.com/api/streaming"""

import json
from typing import Any, ClassVar

from ..errors import GatewayError, UpstreamFailed
from .splitter import LINE
from .stream import Stream, parsed
from .usage import Usage, usage_of


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Ollama's shape of an error before the first byte. The request id is in the header."""
    return {"error": error.message}


class Ndjson(Stream):
    """Answers (`"done":true` is last) and progress of pull, push and create (`"status":"success"` is)."""

    media_type: ClassVar[str] = "application/x-ndjson"
    # White space before the next line: every JSON parser accepts it, and clients that read line by line
    # get no empty line.
    heartbeat: ClassVar[bytes] = b" "
    separator = LINE
    plain = (b'"done":false}\n',)
    marks = (b'"done":true', b'"done": true', b'"error"', b'"success"')

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return json.dumps({"error": error.message}).encode() + b"\n"

    def is_plausible(self, unit: bytes) -> bool:
        return unit.startswith(b"{") and unit.endswith((b"}", b"}\r"))

    def is_whole(self, unit: bytes) -> bool:
        return parsed(unit) is not None

    def inspect(self, unit: bytes) -> None:
        fields = parsed(unit)
        if fields is None:
            self.fail(UpstreamFailed("upstream sent a line that is not JSON"))
        elif "error" in fields:
            self.fail(UpstreamFailed(str(fields["error"])))
        elif fields.get("done") is True:
            self.ended = True
            self.usage = usage_of(fields) or Usage(0, 0)
        elif fields.get("status") == "success":
            self.ended = True
