"""The progress of something slow."""

import shutil
import sys
import time

from deploy.terminal.messages import say

QUIET_SECONDS = 5.0  # between two lines that cannot be rewritten


class StatusLine:
    """On a terminal one line that is rewritten; elsewhere a line for each change, but not too many."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = ""
        self._shown_at = -QUIET_SECONDS
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._on_terminal:
            line = f"{text} ({self.seconds:.0f} s so far)"
            # A line that wraps would be rewritten only in part.
            line = line[: shutil.get_terminal_size().columns - 1]
            say(f"\r\033[K{line}", end="")
        elif text != self._shown and now - self._shown_at >= QUIET_SECONDS:
            say(text)
            self._shown_at = now
            self._shown = text

    def end(self) -> None:
        if self._on_terminal:
            say("\r\033[K", end="")
