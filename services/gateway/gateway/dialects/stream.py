"""What every stream of an answer has in common: units are checked for being the last one, and passed on."""

from collections.abc import Mapping
from typing import ClassVar

from ..errors import GatewayError, UpstreamFailed, UpstreamTruncated
from .splitter import Splitter
from .usage import Usage
from .whole import JSON, Whole

CUT_OFF = "upstream closed the stream before the answer was complete"


class Stream:
    """The state of one answer. Feed it bytes until `ended`; `failure` says how it went wrong, if it did.

    A subclass knows its wire format: how upstream's units become the client's frames, which one is the last,
    and how an error is told before the first byte and after it.
    """

    http_status: ClassVar[int] = 200
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"
    media_type = "text/event-stream"
    separator: ClassVar[bytes]

    def __init__(self, max_unit_bytes: int) -> None:
        self._max_unit_bytes = max_unit_bytes
        self._splitter = self.new_splitter(max_unit_bytes)
        self.events = 0
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None
        # What takes an answer that comes in one piece after all, if the client has nothing of it yet.
        self.instead: Whole | None = None

    def open(self, status: int, media_type: str) -> None:
        """Upstream has begun to answer."""
        if media_type.lower().startswith(JSON):
            self.instead = Whole(self._max_unit_bytes)
            self.instead.open(status, media_type)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self.media_type.encode()),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]

    def feed(self, data: bytes) -> bytes:
        """Returns the frames of every unit that `data` completes, as one write."""
        if self._splitter.is_one(data) and not self.ended:
            self.inspect(data)
            if self.failure:
                return b""
            self.events += 1
            return self.frame(data)
        try:
            units = self._splitter.feed(data)
        except UpstreamFailed as error:
            self.fail(error)
            return b""
        return self._frames(units)

    def end(self) -> bytes:
        """Upstream has closed: returns what is left. It is a failure if no unit was the last one."""
        frames = self._frames([unit for unit in self._splitter.flush() if self.is_whole(unit)])
        if not self.ended:
            self.fail(UpstreamTruncated(CUT_OFF))
        return frames

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """What ends an answer that failed after its first byte: the error, and the terminal marker if any."""
        raise NotImplementedError

    def status(self, state: str, fields: Mapping[str, object]) -> bytes:
        """What is waited for, before the answer begins: a comment. Empty where the format cannot say it."""
        return b": %b\n\n" % state.encode()

    def new_splitter(self, max_unit_bytes: int) -> Splitter:
        return Splitter(self.separator, max_unit_bytes)

    def frame(self, unit: bytes) -> bytes:
        """One unit with its separator, as the client gets it."""
        return unit

    def inspect(self, unit: bytes) -> None:
        """Looks at a unit with its separator: ends the stream or fails it, if that is what it says."""
        raise NotImplementedError

    def is_whole(self, unit: bytes) -> bool:
        """Whether a unit that upstream's end cut off was complete all the same."""
        raise NotImplementedError

    def fail(self, error: GatewayError) -> None:
        self.ended = True
        self.failure = error

    def _frames(self, units: list[bytes]) -> bytes:
        frames = []
        for unit in units:
            if self.ended:
                break
            whole = unit + self.separator
            self.inspect(whole)
            if self.failure:
                break
            self.events += 1
            frames.append(self.frame(whole))
        return b"".join(frames)
