"""Who has managed models, and with what result: one JSON line each, in a stream of its own.

Nobody waits for the stream. A line that cannot be written is kept and tried again; if that lasts, managing is
refused rather than left unwritten, provided that there is a file for it.
"""

import atexit
import json
import os
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import structlog

from ..settings import Settings

STANDARD_ERROR = 2
RETRY_SECONDS = 1.0
# How old a line may be before managing is refused, and how many are kept.
MOST_SECONDS = 5.0
MOST_LINES = 1000
# For what waits when the process ends.
EXIT_SECONDS = 1.0


class Audit:
    """`waiting` counts the lines that are not written yet, `lost` those that never will be."""

    def __init__(self, settings: Settings) -> None:
        self._file = Path(settings.audit_file) if settings.audit_file else None
        self._lines: deque[tuple[float, str]] = deque()
        self._news, self._done = Event(), Event()
        self._thread: Thread | None = None
        self._problem: str | None = None
        self._torn = False
        self.lost = 0
        atexit.register(self._finish)

    @property
    def waiting(self) -> int:
        return len(self._lines)

    @property
    def problem(self) -> str | None:
        """Why lines wait, in words; None if nothing is wrong."""
        if not self._problem and not self._is_late():
            return None
        return f"{self.waiting} lines cannot be written: {self._problem or 'nobody takes them'}"

    @property
    def blocks(self) -> bool:
        """Whether nothing more may be managed until lines are written."""
        return self._file is not None and self._is_late()

    def write(self, **fields: object) -> None:
        line = json.dumps({"event": "audit", "timestamp": datetime.now(UTC).isoformat(), **fields})
        self._lines.append((time.monotonic(), line))
        if len(self._lines) > MOST_LINES:
            self._lose()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="audit writer", daemon=True)
            self._thread.start()
        self._news.set()

    def _is_late(self) -> bool:
        return bool(self._lines) and time.monotonic() - self._lines[0][0] > MOST_SECONDS

    def _lose(self) -> None:
        """The oldest line goes where all others are; perhaps that can be written."""
        _, line = self._lines.popleft()
        self.lost += 1
        structlog.get_logger().error("audit_line_lost", problem=self._problem, line=line)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while self._lines:
                said = self._problem
                self._try()
                if self._problem:
                    if self._problem != said:
                        structlog.get_logger().error("audit", problem=self.problem)
                    time.sleep(RETRY_SECONDS)
            self._done.set()

    def _try(self) -> None:
        first = self._lines[0]
        try:
            if self._file:
                # Opened anew each time, since it is seldom: so it may be rotated, and workers share it.
                with self._file.open("ab", buffering=0) as stream:
                    self._write(stream.fileno(), first[1])
            else:
                self._write(STANDARD_ERROR, first[1])
        except OSError as error:
            self._problem = error.strerror or type(error).__name__
        else:
            self._problem = None
            with suppress(ValueError):  # it has been given up meanwhile
                self._lines.remove(first)

    def _write(self, descriptor: int, line: str) -> None:
        # A full disk may have taken half a line; what follows begins a new one.
        data = f"{line}\n".encode()
        data = b"\n" + data if self._torn else data
        while data:
            written = os.write(descriptor, data)
            self._torn = not data[:written].endswith(b"\n")
            data = data[written:]

    def _finish(self) -> None:
        """Waits for what can still be written, and loses the rest."""
        self._done.clear()
        self._news.set()
        if self._thread:
            self._done.wait(EXIT_SECONDS)
        while self._lines:
            self._lose()


def unusable(settings: Settings) -> str | None:
    """Why lines could not be written."""
    if not settings.audit_file:
        return None
    try:
        Path(settings.audit_file).open("ab").close()
    except OSError as error:
        return f"GATEWAY_AUDIT_FILE: {settings.audit_file}: {error.strerror}"
    return None
