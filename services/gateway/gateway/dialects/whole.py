"""An answer in one piece: held until it is complete, so that a client never gets half of one."""

from typing import Any

from ..errors import GatewayError, UpstreamFailed
from .stream import parsed
from .usage import Usage, usage_of

# Reading more at once would hold up the streams beside it. An answer that is larger is one of vectors.
MAX_PARSED_BYTES = 64 * 1024
USAGE = (b'"usage"', b'"prompt_eval_count"', b'"eval_count"')


class Whole:
    """Takes upstream's status, type and body as they are. Nothing can be sent before them, so there is no
    heartbeat: the status is the only place in which such a client looks for an error."""

    heartbeat = b""
    events = 0

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self.size = 0
        self._media_type = ""
        self.status = 200
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None

    def open(self, status: int, media_type: str) -> None:
        self.status = status
        self._media_type = media_type

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        length = [(b"content-length", b"%d" % self.size)]
        return [(b"content-type", self._media_type.encode()), *length] if self._media_type else length

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        self.size += len(data)
        if self.size > self._max_bytes:
            self.ended = True
            self.failure = UpstreamFailed(f"upstream sent an answer of more than {self._max_bytes} bytes")
        return b""

    def end(self) -> bytes:
        self.ended = True
        answer = b"".join(self._pieces)
        if any(mark in answer for mark in USAGE):
            self.usage = usage_of(_fields(answer))
        return answer

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """Nothing can follow a whole answer."""
        return b""


def _fields(answer: bytes) -> dict[str, Any]:
    if len(answer) > MAX_PARSED_BYTES:
        # The numbers stand behind the vectors; if what is there is something else, it is no JSON.
        answer = b"{" + answer[answer.rfind(b"]") + 1 :].lstrip(b", \r\n")
    return parsed(answer) or {}
