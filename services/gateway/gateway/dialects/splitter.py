"""Cutting a byte stream into lines or events, however it was chunked on its way."""

from ..errors import UpstreamFailed

LINE = b"\n"
EVENT = b"\n\n"


class Splitter:
    """Splits at `separator` alone: JSON strings may hold every other character that ends a line elsewhere.

    Linear in the number of bytes, also for one unit that comes in very many pieces.
    """

    def __init__(self, separator: bytes, max_bytes: int) -> None:
        self._separator = separator
        self._length = len(separator)
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the units that `data` completes, without their ends and without empty ones.

        Raises UpstreamFailed when a unit grows beyond the limit.
        """
        if self._separator == EVENT and self._pieces and self._pieces[-1].endswith(b"\n"):
            # The separator may have been cut in two.
            self._pieces[-1] = self._pieces[-1][:-1]
            self._size -= 1
            data = b"\n" + data
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
                raise UpstreamFailed(f"upstream sent more than {self._max_bytes} bytes in one piece")
        return units

    def is_one(self, data: bytes) -> bool:
        """Whether `data` is exactly one unit with its end, which is what nearly every read brings."""
        size = len(data)
        return (
            data.find(self._separator) == size - self._length and not self._pieces and size <= self._max_bytes
        )

    def flush(self) -> list[bytes]:
        """Returns the last unit if the stream ended without an end after it."""
        return self.feed(self._separator)
