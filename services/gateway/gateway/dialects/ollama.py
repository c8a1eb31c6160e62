"""Ollama's own API: NDJSON, forwarded unchanged. https://docs.ollama.com/api/streaming"""

import json
from typing import Any, ClassVar

import msgspec

from ..errors import GatewayError, UpstreamFailed, UpstreamTruncated
from .decoding import decoded, message_of, parsed
from .splitter import LINE
from .stream import TRUNCATED, Stream
from .usage import Usage, usage_of
from .whole import JSON


class Line(msgspec.Struct):
    """The fields that mark the last line of a stream."""

    done: Any = None
    status: Any = None
    error: Any = None


LINES = msgspec.json.Decoder(Line)


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Ollama's error shape before the first byte. The request id is in the header."""
    return {"error": error.message}


def is_error_body(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("error"), str)


class Ndjson(Stream):
    """An NDJSON stream; the last line has `"done":true`.

    Some answers are a single JSON object, by their media type (when a model is only loaded, for example).
    They end with the body.
    """

    media_type = "application/x-ndjson"
    # White space before the next line: JSON parsers accept it, and clients that read lines get no empty one.
    heartbeat: ClassVar[bytes] = b" "
    shows_status = False
    separator = LINE
    is_one_object = False
    _last = b""  # the last line of an answer

    def open(self, status: int, media_type: str) -> None:
        if media_type.lower().startswith(JSON):
            self.media_type, self.is_one_object = media_type, True

    def end(self) -> bytes:
        if not self.is_one_object:
            return super().end()
        frames = self._frames(self._splitter.flush())
        if not self.ended and self.events != 1:
            self.fail(UpstreamTruncated(TRUNCATED))
        self.ended = True
        return frames.removesuffix(LINE)

    def error(self, error: GatewayError, request_id: str) -> bytes:
        return json.dumps({"error": error.message}).encode() + b"\n"

    def is_whole(self, unit: bytes) -> bool:
        return parsed(unit) is not None

    def inspect(self, unit: bytes) -> None:
        try:
            line = LINES.decode(unit) if unit.isascii() else decoded(LINES, unit)
        except (ValueError, RecursionError):
            line = decoded(LINES, unit)
        if line is None:
            self.fail(UpstreamFailed("upstream sent a line that is not a JSON object in UTF-8"))
        elif line.error is not None:
            self.fail(UpstreamFailed(message_of(line.error)))
        elif (line.done or line.status) and self.is_last(line):
            self.ended = True
            self.usage = usage_of(parsed(unit) or {}) or Usage(0, 0)
        else:
            self._last = unit

    def cut(self) -> bytes:
        last = parsed(self._last) or {}
        named = {name: last[name] for name in ("model", "created_at") if name in last}
        text = {"message": {"role": "assistant", "content": ""}} if "message" in last else {"response": ""}
        end = {"done": True, "done_reason": "length", "eval_count": self.events}
        return json.dumps({**named, **text, **end}, separators=(",", ":")).encode() + LINE

    def is_last(self, line: Line) -> bool:
        return line.done is True


class Progress(Ndjson):
    """Progress of pull, push and create; the last line has the status `success`."""

    def is_last(self, line: Line) -> bool:
        return bool(line.status == "success")

    def cut(self) -> bytes:
        return b""
