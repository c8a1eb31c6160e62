"""The times of a request that its last line reports."""

import time


class Clock:
    def __init__(self) -> None:
        self.began = self.loaded = time.monotonic_ns()

    def mark_loaded(self) -> None:
        self.loaded = time.monotonic_ns()

    @property
    def load(self) -> int:
        return self.loaded - self.began

    @property
    def total(self) -> int:
        return time.monotonic_ns() - self.began
