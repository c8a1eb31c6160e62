"""An answer in one piece: held until it is complete, so that a client never gets half of one."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from ..errors import GatewayError, UpstreamFailed
from .decoding import parsed
from .usage import Usage, usage_of

# Reading more at once would hold up the streams beside it. An answer that is larger is one of vectors.
MAX_PARSED_BYTES = 64 * 1024
MAX_CHECKED_BYTES = 4 * 1024 * 1024
USAGE = (b'"usage"', b'"prompt_eval_count"', b'"eval_count"')

JSON = "application/json"
ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


class Whole:
    """Takes upstream's status and body as they are, if they are JSON. Nothing can be sent before them, so
    there is no heartbeat: the status is the only place in which such a client looks for an error."""

    heartbeat = b""
    events = 0
    instead = None
    text_too: ClassVar[bool] = False

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self.size = 0
        self._media_type = ""
        self.http_status = 200
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None

    def open(self, status: int, media_type: str) -> None:
        self.http_status = status
        self._media_type = media_type

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        length = [(b"content-length", b"%d" % self.size)]
        return [(b"content-type", self._media_type.encode()), *length] if self._media_type else length

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        self.size += len(data)
        if self.size > self._max_bytes:
            self._fail(f"upstream sent an answer of more than {self._max_bytes} bytes")
        return b""

    def end(self) -> bytes:
        self.ended = True
        answer = b"".join(self._pieces)
        if answer and not (self.text_too and self._is("text/plain")):
            if not _is_json(answer):
                self._fail(
                    f"upstream sent an answer that is not JSON in UTF-8: {self._media_type or 'no type'}"
                )
                return b""
            if not self._is(JSON):
                self._media_type = JSON
        if any(mark in answer for mark in USAGE):
            self.usage = usage_of(_fields(answer))
        return answer

    def _is(self, media_type: str) -> bool:
        return self._media_type.lower().startswith(media_type)

    def status(self, state: str, fields: Mapping[str, object]) -> bytes:
        return b""

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """Nothing can follow a whole answer."""
        return b""

    def _fail(self, message: str) -> None:
        self.ended = True
        self.failure = UpstreamFailed(message)


class WholeText(Whole):
    """The same of a route that may also answer in plain text."""

    text_too = True


def _is_json(answer: bytes) -> bool:
    if len(answer) > MAX_CHECKED_BYTES:
        return answer.rstrip().endswith((b"}", b"]"))
    try:
        if not answer.isascii():
            answer.decode()
        ANY_JSON.decode(answer)
    except (ValueError, RecursionError):
        # Half a surrogate pair is JSON, but not to msgspec.
        return len(answer) <= MAX_PARSED_BYTES and parsed(answer) is not None
    return True


def _fields(answer: bytes) -> dict[str, Any]:
    if len(answer) > MAX_PARSED_BYTES:
        # The numbers stand behind the vectors; if what is there is something else, it is no JSON.
        answer = b"{" + answer[answer.rfind(b"]") + 1 :].lstrip(b", \r\n")
    return parsed(answer) or {}
