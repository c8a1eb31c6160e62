"""A moving window: how much has been used within the last second, minute, hour or day.

The package `limits` (5.8.0) cannot do this. Its exact window has a list entry for every unit, 8 MB for a
key's million tokens a day. Both of its moving windows refuse a charge that is larger than what is left, and
count nothing of it; but how many tokens an answer takes is known only at its end.
"""

# A window's charges are summed up in slices of this part of its length, so its memory is bounded.
SLICES = 60


class MovingWindow:
    """Counts each charge for `seconds`, and at most a slice longer. `now` is in seconds of any clock."""

    __slots__ = ("_began", "_seconds", "_slices", "_used")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        # The time of the last charge of each slice, and the sum of its charges; the oldest slice first.
        self._slices: list[tuple[float, int]] = []
        self._began = 0.0  # time of the first charge of the newest slice
        self._used = 0

    def charge(self, amount: int, now: float) -> None:
        """Count `amount`, however much is used already."""
        self._expire(now)
        self._used += amount
        if self._slices and now - self._began < self._seconds / SLICES:
            amount += self._slices.pop()[1]
        else:
            self._began = now
        self._slices.append((now, amount))

    def used(self, now: float) -> int:
        self._expire(now)
        return self._used

    def wait(self, limit: int, now: float) -> float:
        """Seconds until less than `limit` is used without further charges; 0 if less is used now."""
        surplus = self.used(now) - limit
        for last, amount in self._slices:
            if surplus < 0:
                break
            surplus -= amount
            if surplus < 0:
                return self._left(last, now)
        return 0.0

    def reset(self, now: float) -> float:
        """Seconds until nothing is used without further charges."""
        self._expire(now)
        return self._left(self._slices[-1][0], now) if self._slices else 0.0

    def _left(self, last: float, now: float) -> float:
        # Rounding errors must not make it longer than the window.
        return min(last + self._seconds - now, self._seconds)

    def _expire(self, now: float) -> None:
        expired = 0
        for last, amount in self._slices:
            if last + self._seconds > now:
                break
            self._used -= amount
            expired += 1
        if expired:
            del self._slices[:expired]
