"""What is being waited for, told while it lasts."""

import shutil
import sys
import time

QUIET_SECONDS = 5.0  # where lines can't be rewritten


class StatusLine:
    """One line that is rewritten on a terminal; elsewhere a line at each change, but not too many."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._shown = ""
        self._shown_at = -QUIET_SECONDS

    def show(self, text: str) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            line = f"{text} ({now - self._started:.0f} s so far)"
            # A longer one would wrap, and only its last part be rewritten.
            line = line[: shutil.get_terminal_size().columns - 1]
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif text != self._shown and now - self._shown_at >= QUIET_SECONDS:
            print(text, file=sys.stderr, flush=True)
            self._shown_at = now
            self._shown = text

    def end(self) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
