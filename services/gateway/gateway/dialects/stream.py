"""What every stream of an answer has in common: units are checked for being the last one, and passed on."""

import json
from typing import Any, ClassVar

from ..errors import GatewayError, UpstreamFailed, UpstreamTruncated
from .splitter import Splitter
from .usage import Usage


class Stream:
    """The state of one answer. Feed it bytes until `ended`; `failure` says how it went wrong, if it did.

    A subclass knows its wire format: how upstream's units become the client's frames, which one is the last,
    and how an error is told before the first byte and after it.
    """

    status: ClassVar[int] = 200
    media_type: ClassVar[str] = "text/event-stream"
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"
    separator: ClassVar[bytes]
    # Bytes of which the last unit, or one that tells an error, has at least one. Units without are passed
    # on unread. In JSON text they cannot stand inside a string, where quotes are escaped.
    marks: ClassVar[tuple[bytes, ...]]
    # How a unit ends, with its separator, that says nothing but its token: nearly every one.
    plain: ClassVar[tuple[bytes, ...]] = ()
    # A mark that a unit may have although it ends so.
    disguised: ClassVar[bytes | None] = None

    def __init__(self, max_unit_bytes: int) -> None:
        self._splitter = Splitter(self.separator, max_unit_bytes)
        self.events = 0
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None

    def open(self, status: int, media_type: str) -> None:
        """Upstream has begun to answer; what it says of that is not passed on."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self.media_type.encode()),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        ]

    def feed(self, data: bytes) -> bytes:
        """Returns the frames of every unit that `data` completes, as one write."""
        if self._is_plain(data) and self._splitter.is_one(data) and not self.ended:
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
            self.fail(UpstreamTruncated("upstream closed the stream before the answer was complete"))
        return frames

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """What ends an answer that failed after its first byte: the error, and the terminal marker if any."""
        raise NotImplementedError

    def frame(self, unit: bytes) -> bytes:
        """One unit with its separator, as the client gets it."""
        return unit

    def inspect(self, unit: bytes) -> None:
        """Looks at a unit that has one of the marks: ends the stream or fails it, if that is what it says."""
        raise NotImplementedError

    def is_plausible(self, unit: bytes) -> bool:
        """Whether a unit looks like one of this format; the least that can be said without reading it."""
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
            if not self._is_plain(whole):
                self._look_at(unit)
            if self.failure:
                break
            self.events += 1
            frames.append(self.frame(whole))
        return b"".join(frames)

    def _is_plain(self, unit: bytes) -> bool:
        return unit.endswith(self.plain) and not (self.disguised and self.disguised in unit)

    def _look_at(self, unit: bytes) -> None:
        for mark in self.marks:
            if mark in unit:
                self.inspect(unit)
                break
        if not self.failure and not self.is_plausible(unit):
            self.fail(UpstreamFailed("upstream sent something that does not belong into this stream"))


def parsed(text: bytes) -> dict[str, Any] | None:
    """The JSON object in `text`, or None if it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
