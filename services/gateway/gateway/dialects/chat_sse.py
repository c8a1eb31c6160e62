"""`POST /chat`: each line of Ollama's NDJSON becomes one Server-Sent Event.

Ollama's stream: https://docs.ollama.com/api/streaming; events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
from dataclasses import dataclass
from typing import Any

from ..errors import GatewayError, UpstreamFailed, UpstreamTruncated
from .lines import LineSplitter

HEARTBEAT = b": keep-alive\n\n"


@dataclass(slots=True)
class Usage:
    """Tokens of a finished answer, as upstream's last line gives them."""

    prompt_tokens: int
    output_tokens: int


class ChatSSE:
    """The state of one answer. Feed it bytes until `ended`; `failure` says how it went wrong, if it did."""

    media_type = "text/event-stream"
    heartbeat = HEARTBEAT

    def __init__(self, max_line_bytes: int) -> None:
        self._lines = LineSplitter(max_line_bytes)
        self.events = 0
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """Returns the frames of every line that `data` completes, as one write."""
        try:
            return self._frame(self._lines.feed(data))
        except UpstreamFailed as error:
            self._fail(error)
            return b""

    def end(self) -> bytes:
        """Upstream has closed: returns what is left. It is a failure if no line has said done."""
        frames = self._frame([line for line in self._lines.flush() if _is_json(line)])
        if not self.ended:
            self._fail(UpstreamTruncated("upstream closed the stream before the answer was complete"))
        return frames

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """The last event of an answer that failed after its first byte."""
        return b"event: error\ndata: %b\n\n" % json.dumps(error.body(request_id)).encode()

    def _frame(self, lines: list[bytes]) -> bytes:
        frames = []
        for line in lines:
            if self.ended:
                break
            if b"\r" in line:  # white space to JSON, but the end of a line to SSE
                line = line.replace(b"\r", b" ").strip()
            if not (line.startswith(b"{") and line.endswith(b"}")):
                self._fail(UpstreamFailed("upstream sent a line that is not a JSON object"))
                break
            # Parsed only if it may be the last one: in JSON text these bytes cannot stand inside a
            # string, where quotes are escaped, so nearly every line is passed on unread.
            if b'"done":true' in line or b'"done": true' in line or b'"error"' in line:
                self._read_last(line)
                if self.failure:
                    break
            self.events += 1
            frames.append(b"id: %d\ndata: %b\n\n" % (self.events, line))
        return b"".join(frames)

    def _read_last(self, line: bytes) -> None:
        try:
            fields: dict[str, Any] = json.loads(line)
        except ValueError:
            self._fail(UpstreamFailed("upstream sent a line that is not JSON"))
            return
        if "error" in fields:
            self._fail(UpstreamFailed(str(fields["error"])))
        elif fields.get("done") is True:
            self.ended = True
            self.usage = Usage(fields.get("prompt_eval_count", 0), fields.get("eval_count", 0))

    def _fail(self, error: GatewayError) -> None:
        self.ended = True
        self.failure = error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
