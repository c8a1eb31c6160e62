"""The audit log: who has managed models, and with what result, one JSON line each, in a separate stream.

Writing is asynchronous. A line that cannot be written is kept and retried; if that lasts and a file is
configured, managing models is refused until lines can be written again.
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
# Age of a line at which managing models is refused, and the number of lines kept.
MAX_AGE_SECONDS = 5.0
MAX_LINES = 1000
# Time limit for pending lines when the process ends.
EXIT_SECONDS = 1.0


class Audit:
    """`waiting` counts pending lines, `lost` those that were discarded."""

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
        """Why lines are pending, as text; None if there is no problem."""
        if not self._problem and not self._is_late():
            return None
        return f"{self.waiting} lines cannot be written: {self._problem or 'the output is blocked'}"

    @property
    def blocks(self) -> bool:
        """Whether managing models is refused until lines are written."""
        return self._file is not None and self._is_late()

    def write(self, **fields: object) -> None:
        line = json.dumps({"event": "audit", "timestamp": datetime.now(UTC).isoformat(), **fields})
        self._lines.append((time.monotonic(), line))
        if len(self._lines) > MAX_LINES:
            self._discard_oldest()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="audit writer", daemon=True)
            self._thread.start()
        self._news.set()

    def _is_late(self) -> bool:
        return bool(self._lines) and time.monotonic() - self._lines[0][0] > MAX_AGE_SECONDS

    def _discard_oldest(self) -> None:
        """Discard the oldest line, and write it to the ordinary log instead."""
        _, line = self._lines.popleft()
        self.lost += 1
        structlog.get_logger().error("audit_line_lost", problem=self._problem, line=line)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while self._lines:
                previous = self._problem
                self._try_oldest()
                if self._problem:
                    if self._problem != previous:
                        structlog.get_logger().error("audit_write_failed", problem=self.problem)
                    time.sleep(RETRY_SECONDS)
            self._done.set()

    def _try_oldest(self) -> None:
        first = self._lines[0]
        try:
            if self._file:
                # Opened for each line, which is rare: the file can be rotated and is shared by the workers.
                with self._file.open("ab", buffering=0) as stream:
                    self._write(stream.fileno(), first[1])
            else:
                self._write(STANDARD_ERROR, first[1])
        except OSError as error:
            self._problem = error.strerror or type(error).__name__
        else:
            self._problem = None
            with suppress(ValueError):  # it has been discarded meanwhile
                self._lines.remove(first)

    def _write(self, descriptor: int, line: str) -> None:
        # A full disk may have taken part of a line: start a new one.
        data = f"{line}\n".encode()
        data = b"\n" + data if self._torn else data
        while data:
            written = os.write(descriptor, data)
            self._torn = not data[:written].endswith(b"\n")
            data = data[written:]

    def _finish(self) -> None:
        """Wait for pending lines, and discard the rest."""
        self._done.clear()
        self._news.set()
        if self._thread:
            self._done.wait(EXIT_SECONDS)
        while self._lines:
            self._discard_oldest()


def unusable(settings: Settings) -> str | None:
    """Why the audit file cannot be written; None if it can."""
    if not settings.audit_file:
        return None
    try:
        Path(settings.audit_file).open("ab").close()
    except OSError as error:
        return f"GATEWAY_AUDIT_FILE: {settings.audit_file}: {error.strerror}"
    return None
