"""Keeps requests from a model server that has failed several of them, one after the other."""

import random
import time
from collections.abc import Callable

# Requests fail for reasons of their own, too.
FAILURES = 3

FIRST_SECONDS = 1.0
# Short: a server that is well again should have its load back soon. A request that tries it in vain goes on
# to another one.
LONGEST_SECONDS = 8.0
# Several gateways would otherwise try a server again at the same moment.
JITTER = 0.25


# Twice as long each time up to here is far beyond the longest time.
MOST_OPENINGS = 10


def untold(openings: int) -> None:
    """For a gateway that knows no other."""


class Breaker:
    """Closed: every request passes. Open: none does, twice as long after each opening. Then a successful poll
    makes it half open: one request passes, and its result closes or opens it.

    `told` is called with the number of openings in a row when it opens, and with 0 when it closes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.told: Callable[[int], None] = untold
        self._clock = clock
        self._failures = 0
        self._openings = 0
        self._open_until: float | None = None  # None: closed
        self._is_tried = False  # half open, with its one request under way
        self._is_half_open = False

    @property
    def state(self) -> str:
        if self._open_until is None:
            return "closed"
        return "half open" if self._is_half_open else "open"

    @property
    def is_closed(self) -> bool:
        return self._open_until is None

    @property
    def passes(self) -> bool:
        """Whether a request may be sent."""
        return self._open_until is None or (self._is_half_open and not self._is_tried)

    @property
    def half_open_in(self) -> float:
        """Seconds until a poll makes it half open; 0 if it is not open."""
        return 0 if self.passes or self._open_until is None else max(0, self._open_until - self._clock())

    def polled(self) -> None:
        """The server has answered a poll."""
        if self._open_until is not None and self._clock() >= self._open_until:
            self._is_half_open = True

    def sent(self) -> bool:
        """A request is sent; whether it is the one that passes while half open."""
        is_trial = self._is_half_open and not self._is_tried
        self._is_tried = self._is_half_open
        return is_trial

    def given_up(self) -> None:
        """The one request has ended without saying anything about the server."""
        self._is_tried = False

    def succeeded(self) -> None:
        was_closed = self.is_closed
        self._close()
        if not was_closed:
            self.told(0)

    def failed(self) -> None:
        self._failures += 1
        if self._is_half_open or self._failures >= FAILURES:
            self.open()

    def open(self) -> None:
        """Let no request pass for some time."""
        if self._open_until is not None and not self._is_half_open:
            return  # since then nobody has tried
        self._open(min(self._openings + 1, MOST_OPENINGS))
        self.told(self._openings)

    def follow(self, openings: int) -> None:
        """Do as another gateway's, which has told this."""
        if openings:
            self._open(min(openings, MOST_OPENINGS))
        else:
            self._close()

    def _open(self, openings: int) -> None:
        self._openings = openings
        seconds = min(FIRST_SECONDS * 2 ** (openings - 1), LONGEST_SECONDS)
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # not for cryptography
        self._open_until = self._clock() + seconds * jitter
        self._is_tried = self._is_half_open = False

    def _close(self) -> None:
        self._failures = self._openings = 0
        self._open_until = None
        self._is_tried = self._is_half_open = False
