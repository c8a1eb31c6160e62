"""Splits a byte stream into lines or events, independent of how it was chunked."""

from typing import ClassVar

from ..errors import UpstreamFailed

LINE = b"\n"
EVENT = b"\n\n"
SPACE = ord(" ")


class Splitter:
    """Splits only at `separator`: JSON strings may contain all other line separators of Unicode.

    Linear in the number of bytes, even for a unit that arrives in very many pieces.
    """

    to_be_replaced: ClassVar[bytes | None] = None

    def __init__(self, separator: bytes, max_bytes: int) -> None:
        self._separator = separator
        self._length = len(separator)
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the units that `data` completes, without separators; empty ones are dropped.

        Raises UpstreamFailed when a unit grows beyond the limit.
        """
        *complete, rest = data.split(self._separator)
        units = []
        if complete:
            self._pieces.append(complete[0])
            complete[0] = b"".join(self._pieces)
            units = [unit for unit in complete if unit and not unit.isspace()]
            self._pieces.clear()
            self._size = 0
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > self._max_bytes:
                raise UpstreamFailed(f"upstream sent a line or event of more than {self._max_bytes} bytes")
        return units

    def is_one(self, data: bytes) -> bool:
        """Whether `data` is exactly one unit with its separator, as in nearly every read."""
        size = len(data)
        ends_there = data.find(self._separator) == size - self._length > 0
        # A unit that begins with white space may be empty.
        if not ends_there or data[0] <= SPACE or self._pieces or size > self._max_bytes:
            return False
        return self.to_be_replaced is None or self.to_be_replaced not in data

    def flush(self) -> list[bytes]:
        """Returns the last unit if the stream ended without a separator."""
        return self.feed(self._separator)


class EventSplitter(Splitter):
    """Splits at empty lines; lines may end with CR LF, CR or LF.

    JSON text contains no raw CR or LF, so all line ends are normalised to LF.
    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """

    to_be_replaced = b"\r"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(EVENT, max_bytes)

    def feed(self, data: bytes) -> list[bytes]:
        # A separator or a line end may be split between two reads.
        while self._pieces and self._pieces[-1].endswith((b"\n", b"\r")):
            last = self._pieces.pop()
            self._size -= len(last)
            data = last + data
        if b"\r" in data:
            held = data.endswith(b"\r")
            data = data[: len(data) - held].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r" * held
        return super().feed(data)

    def flush(self) -> list[bytes]:
        return self.feed(b"\n" + EVENT)
