"""How fast a model server answers with each model, from the answers that have ended recently."""

from collections import deque

# Few enough to follow a change, enough for a stable mean.
REMEMBERED = 32


class Mean:
    """The mean of the latest values."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=REMEMBERED)

    def add(self, value: float) -> None:
        self._values.append(value)

    @property
    def value(self) -> float | None:
        return sum(self._values) / len(self._values) if self._values else None


class Speed:
    """Of one model: seconds to the first byte, and tokens a second after it."""

    def __init__(self) -> None:
        self.first_byte = Mean()
        self.tokens = Mean()

    def learn(self, first_byte: float, tokens: int, seconds: float) -> None:
        """An answer of `tokens` has ended `seconds` after it was asked for."""
        self.first_byte.add(first_byte)
        # Shorter ones, and whole answers, whose first byte is the last, say nothing.
        if tokens > 1 and seconds - first_byte > 0.01:
            self.tokens.add((tokens - 1) / (seconds - first_byte))
