"""Lines to a file descriptor, written by a thread of its own.

Whoever logs never waits, neither for a terminal that nobody reads nor for a disk, and never gets an error
from them: what cannot be written is dropped and counted.
"""

import atexit
import os
import select
import time
from queue import SimpleQueue
from threading import Event, Thread

# A line is some 500 bytes.
MAX_WAITING = 10_000

# How long the writer waits for more after a line: one write for many, and few switches between threads.
COLLECT_SECONDS = 0.02
MAX_BYTES = 64 * 1024

# For what waits when the process ends.
EXIT_SECONDS = 1.0


class LineWriter:
    """A text stream as loggers want one. `dropped` counts the lines that could not be written."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.dropped = 0
        self._begin()
        # A thread is not inherited, and what waits here is written by the parent.
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
        """Loggers call it after each line; the writer does it in its own time."""

    def wait(self, seconds: float) -> bool:
        """Whether everything that waited was written, or dropped, within `seconds`."""
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
        # Half a line is all that a full disk has taken, perhaps; what follows begins a new one.
        lines = b"\n" + lines if self._torn and lines else lines
        while lines:
            try:
                written = os.write(self._descriptor, lines)
            except BlockingIOError:  # whoever gave us the descriptor does not want to wait for it
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
