"""`POST /chat`: each line of Ollama's stream becomes one Server-Sent Event.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import GatewayError
from .ollama import Ndjson
from .splitter import LINE


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """The gateway's own error shape, before and after the first byte."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "code": error.code,
            "request_id": request_id,
        }
    }


class ChatSSE(Ndjson):
    media_type = "text/event-stream"
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"
    shows_status = True

    def open(self, status: int, media_type: str) -> None:
        super().open(status, media_type)
        self.media_type = ChatSSE.media_type

    def end(self) -> bytes:
        frames = super().end()
        return frames and frames.rstrip(LINE) + LINE + LINE

    def status(self, state: str, fields: Mapping[str, object]) -> bytes:
        return b"event: status\ndata: %b\n\n" % json.dumps({"state": state, **fields}).encode()

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % json.dumps(error_body(error, request_id)).encode()

    def cut(self) -> bytes:
        return b"id: %d\ndata: %b\n" % (self.events + 1, super().cut())

    def frame(self, unit: bytes) -> bytes:
        if b"\r" in unit:  # white space in JSON, but a line end in SSE
            unit = unit.replace(b"\r", b" ").rstrip() + LINE
        return b"id: %d\ndata: %b\n" % (self.events, unit)


class KeptChatSSE(ChatSSE):
    """The same of an answer that can be read on: its error has an id too, so that nobody reads it twice."""

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return b"id: %d\n%b" % (self.events + 1, super().error(error, request_id))

    def interruption(self, error: GatewayError, request_id: str) -> bytes:
        return super().error(error, request_id)
