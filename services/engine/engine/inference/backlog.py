"""The requests that wait for a model or a slot, and how many may."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import BusyError


class Backlog:
    def __init__(self, limit: int) -> None:
        self.waiting = 0
        self._limit = limit

    @contextmanager
    def entry(self) -> Iterator[None]:
        """Counts a request as waiting. Raises BusyError if too many wait already."""
        if self.waiting >= self._limit:
            raise BusyError
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1
