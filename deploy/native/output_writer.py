"""Output to a descriptor that may block, fail or be closed: writing never waits and never raises."""

import os
import select
import threading
from collections import deque

MAX_WAITING_BYTES = 1024 * 1024
CLOSE_SECONDS = 1.0


class OutputWriter:
    """Writes to `descriptor` from a thread of its own.

    Drops what the queue has no room for and what cannot be written; once writing works again, one line says
    how many lines are missing.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._full = False
        self._line_cut = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: bytes) -> None:
        with self._changed:
            # A full queue takes nothing until it is empty: one long gap rather than many short ones.
            if self._full or self._waiting_bytes >= MAX_WAITING_BYTES:
                self._full = True
                self._dropped += _count_lines(text)
                return
            self._waiting.append(text)
            self._waiting_bytes += len(text)
            self._changed.notify()
            if self._thread is None:
                # A daemon: blocked in a write, it must not keep the program from ending.
                self._thread = threading.Thread(target=self._write_all, daemon=True)
                self._thread.start()

    def say(self, text: str) -> None:
        self.write(f"{text}\n".encode(errors="backslashreplace"))

    def close(self) -> None:
        """Gives what is waiting a moment to be written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        while (text := self._next()) is not None:
            gap = 0 if self._full else self._dropped
            if gap and self._put(_gap_notice(gap)):
                self._count_dropped(-gap)
                gap = 0
            if gap or not self._put(text):
                self._count_dropped(_count_lines(text))

    def _next(self) -> bytes | None:
        """The next text; an empty one if only the gap is to be reported; None at the end."""
        with self._changed:
            while not self._waiting:
                if self._full:
                    self._full = False
                    return b""
                if self._closed:
                    return None
                self._changed.wait()
            text = self._waiting.popleft()
            self._waiting_bytes -= len(text)
            return text

    def _count_dropped(self, lines: int) -> None:
        with self._changed:
            self._dropped += lines

    def _put(self, text: bytes) -> bool:
        """Whether all of it was written."""
        rest = memoryview(b"\n" + text if self._line_cut else text)
        try:
            while rest:
                try:
                    rest = rest[os.write(self.descriptor, rest) :]
                    self._line_cut = bool(rest)
                except BlockingIOError:  # another process that shares the terminal or pipe has made it so
                    ready = select.poll()
                    ready.register(self.descriptor, select.POLLOUT)
                    ready.poll()
        except OSError:
            return False
        return True


def _count_lines(text: bytes) -> int:
    return len(text.splitlines())


def _gap_notice(gap: int) -> bytes:
    lines = "1 line was" if gap == 1 else f"{gap} lines were"
    return f"({lines} dropped: the reader was too slow, or there was no room)\n".encode()


def replace_closed_streams() -> None:
    """Opens /dev/null for closed standard streams, or the next file opened would take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
