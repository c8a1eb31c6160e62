"""Cutting a byte stream into lines, however it was chunked on its way."""

from ..errors import UpstreamFailed


class LineSplitter:
    """Splits at `\\n` alone: JSON strings may hold every other character that ends a line elsewhere.

    Linear in the number of bytes, also for one line that comes in very many pieces.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._max_line_bytes = max_line_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Returns the lines that `data` completes, without their ends and without empty ones.

        Raises UpstreamFailed when a line grows beyond the limit.
        """
        *complete, rest = data.split(b"\n")
        lines = []
        if complete:
            self._pieces.append(complete[0])
            complete[0] = b"".join(self._pieces)
            lines = [line for line in complete if line and not line.isspace()]
            self._pieces.clear()
            self._size = 0
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > self._max_line_bytes:
                raise UpstreamFailed(f"upstream sent a line of more than {self._max_line_bytes} bytes")
        return lines

    def flush(self) -> list[bytes]:
        """Returns the last line if the stream ended without a line end after it."""
        return self.feed(b"\n")
