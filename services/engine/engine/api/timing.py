"""Times in answers: how long loading and everything took, and timestamps as Go writes them."""

import time
from datetime import UTC, datetime


class Timing:
    """Durations of a request in nanoseconds."""

    def __init__(self) -> None:
        self._began = self._loaded = time.monotonic_ns()

    def mark_loaded(self) -> None:
        self._loaded = time.monotonic_ns()

    @property
    def load(self) -> int:
        return self._loaded - self._began

    @property
    def total(self) -> int:
        return time.monotonic_ns() - self._began


def rfc3339(nanoseconds: int) -> str:
    """A Unix time in UTC; trailing zeros of the fraction are left out, as in Go."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"
