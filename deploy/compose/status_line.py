"""What is being waited for, told while it lasts."""

import shutil
import sys
import time

from telling import say

QUIET_SECONDS = 5.0  # where lines can't be rewritten


class StatusLine:
    """One line that is rewritten on a terminal; elsewhere a line at each change, but not too many."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = ""
        self._shown_at = -QUIET_SECONDS
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._on_terminal:
            line = f"{text} ({now - self._started:.0f} s so far)"
            # A longer one would wrap, and only its last part be rewritten.
            line = line[: shutil.get_terminal_size().columns - 1]
            say(f"\r\033[K{line}", end="")
        elif text != self._shown and now - self._shown_at >= QUIET_SECONDS:
            say(text)
            self._shown_at = now
            self._shown = text

    def end(self) -> None:
        if self._on_terminal:
            say("\r\033[K", end="")
