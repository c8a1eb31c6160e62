"""Writes lines to a file descriptor in a separate thread.

Logging never blocks on a terminal or disk, and never raises: lines that cannot be written are dropped and
counted.
"""

import atexit
import os
import select
import time
from queue import SimpleQueue
from threading import Event, Thread

# A line is some 500 bytes.
MAX_WAITING = 10_000

# How long the writer collects lines after the first: fewer writes and thread switches.
COLLECT_SECONDS = 0.02
MAX_BYTES = 64 * 1024

# Time limit for pending lines when the process ends.
EXIT_SECONDS = 1.0


class LineWriter:
    """A text stream for loggers. `dropped` counts the lines that could not be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.dropped = 0
        self._begin()
        # A fork does not inherit the thread, and the parent writes the pending lines.
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.wait, EXIT_SECONDS)

    def write(self, text: str) -> int:
        if self._waiting.qsize() >= MAX_WAITING:
            self.dropped += text.count("\n")
        else:
            self._waiting.put(text.encode(errors="backslashreplace"))
            self._start()
        return len(text)

    def flush(self) -> None:
        """Does nothing: the thread writes when it is ready."""

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds`; whether all pending lines were written or dropped."""
        if self._thread is None:
            return True
        written = Event()
        self._waiting.put(written)
        return written.wait(seconds)

    def _begin(self) -> None:
        self._waiting: SimpleQueue[bytes | Event] = SimpleQueue()
        self._thread: Thread | None = None
        self._torn = False

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="log writer", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            lines: list[bytes] = []
            size, written = 0, None
            while not lines or (size < MAX_BYTES and not self._waiting.empty()):
                item = self._waiting.get()
                if isinstance(item, Event):
                    written = item
                    break
                if not lines and not self._waiting.qsize():
                    time.sleep(COLLECT_SECONDS)
                lines.append(item)
                size += len(item)
            self._write(b"".join(lines))
            if written:
                written.set()

    def _write(self, lines: bytes) -> None:
        # A full disk may have taken part of a line: start a new one.
        lines = b"\n" + lines if self._torn and lines else lines
        while lines:
            try:
                written = os.write(self._descriptor, lines)
            except BlockingIOError:  # the descriptor was inherited in non-blocking mode
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
                continue
            except OSError:
                self.dropped += lines.count(b"\n")
                return
            self._torn = not lines[:written].endswith(b"\n")
            lines = lines[written:]


stdout = LineWriter(1)
