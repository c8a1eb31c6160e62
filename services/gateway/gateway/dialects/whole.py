"""Answers that are not streamed: buffered until complete, so that a client never gets a partial one."""

from typing import Any, ClassVar

import msgspec

from ..errors import GatewayError, UpstreamFailed
from .decoding import decoded, parsed
from .usage import Usage, usage_of

# Parsing more would block the event loop. Larger answers are embeddings.
MAX_PARSED_BYTES = 64 * 1024
MAX_CHECKED_BYTES = 4 * 1024 * 1024
USAGE = (b'"usage"', b'"prompt_eval_count"', b'"eval_count"')

JSON = "application/json"
ANY_JSON = msgspec.json.Decoder(msgspec.Raw)


class Whole:
    """Forwards upstream's status and body unchanged if the body is JSON. Has no heartbeat: nothing can be
    sent before the status, where such a client expects errors.
    """

    heartbeat = b""
    shows_status: ClassVar[bool] = False
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
        if any(name in answer for name in USAGE):
            self.usage = usage_of(_fields(answer))
        return answer

    def _is(self, media_type: str) -> bool:
        return self._media_type.lower().startswith(media_type)

    def cut(self) -> bytes:
        """Only a complete answer is sent."""
        return b""

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """Nothing can follow a complete answer."""
        return b""

    def _fail(self, message: str) -> None:
        self.ended = True
        self.failure = UpstreamFailed(message)


class WholeText(Whole):
    """The same for routes that may also answer with plain text."""

    text_too = True


def _is_json(answer: bytes) -> bool:
    if len(answer) > MAX_CHECKED_BYTES:
        return answer.rstrip().endswith((b"}", b"]"))
    try:
        if not answer.isascii():
            answer.decode()
        ANY_JSON.decode(answer)
    except (ValueError, RecursionError):
        # msgspec rejects an unpaired surrogate escape, which is valid JSON.
        return len(answer) <= MAX_PARSED_BYTES and parsed(answer) is not None
    return True


class Counts(msgspec.Struct):
    """The fields with the usage, of whatever type."""

    usage: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    total_duration: Any = None
    load_duration: Any = None
    prompt_eval_duration: Any = None
    eval_duration: Any = None


COUNTS = msgspec.json.Decoder(Counts)


def _fields(answer: bytes) -> dict[str, Any]:
    """The usage in an answer; the other fields are skipped. None in one that is too large to be checked."""
    if len(answer) > MAX_CHECKED_BYTES:
        # Embeddings: the counts follow the vectors.
        return parsed(b"{" + answer[answer.rfind(b"]") + 1 :].lstrip(b", \r\n")) or {}
    counts = decoded(COUNTS, answer)
    return (
        {name: value for name, value in msgspec.structs.asdict(counts).items() if value is not None}
        if counts
        else {}
    )
