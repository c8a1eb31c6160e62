"""What answers cost and how long they take, from those that have ended recently."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from heapq import heapify, heapreplace

from .turn import Turn

# Answers of a model that are remembered. Few enough to follow a change, enough for a stable mean.
REMEMBERED = 64

# Assumed before any answer of a model has ended.
UNKNOWN_OUTPUT = 256
UNKNOWN_SECONDS = 10.0


class Recent:
    """The latest values of something, sorted too."""

    def __init__(self) -> None:
        self._values: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        if len(self._values) == REMEMBERED:
            self._sorted.remove(self._values.popleft())
        self._values.append(value)
        insort(self._sorted, value)

    def mean(self, unknown: float) -> float:
        return sum(self._sorted) / len(self._sorted) if self._sorted else unknown

    def mean_above(self, least: float, unknown: float) -> float:
        """The mean of the values above `least`; if there are none, as much again."""
        above = self._sorted[bisect_right(self._sorted, least) :]
        if above:
            return sum(above) / len(above)
        return 2 * least if self._sorted else max(unknown, 2 * least)


class Estimates:
    """Learns from each ended turn: `learn`."""

    def __init__(self) -> None:
        self._outputs: dict[str, Recent] = {}
        self._seconds: dict[str, Recent] = {}

    def output_cost(self, model: str) -> float:
        """The tokens that an answer of the model has."""
        outputs = self._outputs.get(model)
        return outputs.mean(UNKNOWN_OUTPUT) if outputs else UNKNOWN_OUTPUT

    def learn(self, turn: Turn, used: float, now: float) -> None:
        """`turn` has ended and used so many tokens."""
        self._outputs.setdefault(turn.model, Recent()).add(max(0.0, used - turn.prompt_cost))
        self._seconds.setdefault(turn.model, Recent()).add(now - (turn.started or now))

    def waits(self, slots: int, running: Sequence[Turn], waiting: Sequence[Turn], now: float) -> list[float]:
        """The seconds until each of `waiting`, in this order, gets one of the model's slots."""
        if not waiting:
            return []
        seconds = self._seconds.get(waiting[0].model) or Recent()
        expected = seconds.mean(UNKNOWN_SECONDS)
        ages = [now - (turn.started or now) for turn in running]
        free_in = [seconds.mean_above(age, UNKNOWN_SECONDS) - age for age in ages]
        free_in += [0.0] * (max(slots, 1) - len(free_in))
        heapify(free_in)
        found = []
        for _ in waiting:
            begins = free_in[0]
            found.append(begins)
            heapreplace(free_in, begins + expected)
        return found
