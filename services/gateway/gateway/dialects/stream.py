"""Base of all streamed answers: inspects each unit, finds the last one, and forwards them."""

import json
from collections.abc import Mapping
from typing import ClassVar

from ..errors import GatewayError, UpstreamFailed, UpstreamTruncated
from .splitter import Splitter
from .usage import Usage
from .whole import JSON, Whole

TRUNCATED = "upstream closed the stream before the answer was complete"


class Stream:
    """The state of one answer. Feed it bytes until `ended`; `failure` is its error, if it failed.

    A subclass implements a wire format: how upstream's units become the client's frames, which unit is the
    last, and the form of an error after the first byte.
    """

    http_status: ClassVar[int] = 200
    heartbeat: ClassVar[bytes] = b": keep-alive\n\n"
    # Whether `status` has a form.
    shows_status: ClassVar[bool] = True
    media_type = "text/event-stream"
    separator: ClassVar[bytes]
    # What a kept answer begins with, before its model server has begun.
    opening = b""

    def __init__(self, max_unit_bytes: int) -> None:
        self._max_unit_bytes = max_unit_bytes
        self._splitter = self.new_splitter(max_unit_bytes)
        self.events = 0
        self.ended = False
        self.failure: GatewayError | None = None
        self.usage: Usage | None = None
        # Takes over if upstream does not stream after all and nothing has been sent to the client.
        self.instead: Whole | None = None

    def open(self, status: int, media_type: str) -> None:
        """Upstream's status and headers have arrived."""
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
            # Its frames refer to this: a reference cycle would wait for the garbage collector.
            self.fail(error.with_traceback(None))
            return b""
        return self._frames(units)

    def end(self) -> bytes:
        """Upstream has closed: returns the remaining frames. Fails if the final unit is missing."""
        frames = self._frames([unit for unit in self._splitter.flush() if self.is_whole(unit)])
        if not self.ended:
            self.fail(UpstreamTruncated(TRUNCATED))
        return frames

    def error(self, error: GatewayError, request_id: str) -> bytes:
        """The end of an answer that failed after its first byte: the error, and a terminal marker if any."""
        raise NotImplementedError

    def cut(self) -> bytes:
        """The end of an answer that the gateway ends early, as if it had reached its greatest length.

        Empty if the format has no such end.
        """
        return b""

    def status(self, state: str, fields: Mapping[str, object]) -> bytes:
        """What the answer waits for, as a comment; only if `shows_status`."""
        details = f" {json.dumps(fields)}" if fields else ""
        return f": {state}{details}\n\n".encode()

    def interruption(self, error: GatewayError, request_id: str) -> bytes:
        """The end of a reading whose answer goes on, and can be read on."""
        return self.error(error, request_id)

    def memo(self) -> bytes:
        """What it takes to end the answer from outside, in `recall`, beside the number of its events."""
        return b""

    def recall(self, memo: bytes, events: int) -> None:
        self.events = events

    def new_splitter(self, max_unit_bytes: int) -> Splitter:
        return Splitter(self.separator, max_unit_bytes)

    def frame(self, unit: bytes) -> bytes:
        """The client's frame for one unit with its separator."""
        return unit

    def inspect(self, unit: bytes) -> None:
        """Inspect a unit with its separator: it may end the stream or fail it."""
        raise NotImplementedError

    def is_whole(self, unit: bytes) -> bool:
        """Whether a final unit without separator is complete."""
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
