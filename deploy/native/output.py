"""Text for a descriptor that may block, fail or be closed: nobody waits for it, and its trouble is nobody's.

Standard library alone: the installer uses it before anything is installed.
"""

import os
import select
import threading
from collections import deque

WAITING_BYTES = 1024 * 1024
CLOSE_SECONDS = 1.0


class Output:
    """Writes to `descriptor` from a thread of its own.

    What the queue has no room for, or what cannot be written, is dropped; once writing works again, one line
    says how many lines that were.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._full = False
        self._torn = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: bytes) -> None:
        """Never waits and never raises."""
        with self._changed:
            # Once it is full, until all of it is written: one long gap rather than many short ones.
            if self._full or self._waiting_bytes >= WAITING_BYTES:
                self._full = True
                self._dropped += _lines(text)
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
        """Gives what waits a moment to be written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        while (text := self._next()) is not None:
            gap = 0 if self._full else self._dropped
            if gap and self._put(_about(gap)):
                self._count(-gap)
                gap = 0
            if gap or not self._put(text):
                self._count(_lines(text))

    def _next(self) -> bytes | None:
        """What comes next, nothing if it is only time to tell of a gap; None at the end."""
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

    def _count(self, lines: int) -> None:
        with self._changed:
            self._dropped += lines

    def _put(self, text: bytes) -> bool:
        """Whether all of it could be written."""
        rest = memoryview(b"\n" + text if self._torn else text)
        try:
            while rest:
                try:
                    rest = rest[os.write(self.descriptor, rest) :]
                    self._torn = bool(rest)
                except BlockingIOError:  # somebody who shares a terminal or a pipe has made it so
                    ready = select.poll()
                    ready.register(self.descriptor, select.POLLOUT)
                    ready.poll()
        except OSError:
            return False
        return True


def _lines(text: bytes) -> int:
    return len(text.splitlines())


def _about(gap: int) -> bytes:
    lines = "1 line was" if gap == 1 else f"{gap} lines were"
    return f"({lines} dropped: nobody read, or there was no room)\n".encode()


def open_standard_streams() -> None:
    """Puts /dev/null in the place of those that are closed: the next file to be opened would become one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
