"""What answers cost and how long they take, from those that have ended recently."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from heapq import heapify, heapreplace

from ..ask.waiting import Used
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
        """The mean of the values above `least`; if there are none, twice `least`."""
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

    def used(self, model: str, used: Used, prompt: float) -> float:
        """The tokens that an answer has used; `prompt` is the estimate of its prompt.

        One that did not end by itself costs at least the tokens of its time. Its prompt may not have been
        read yet, and if it does not stream, its output cannot be counted.
        """
        if used.prompt is not None:
            return used.prompt + used.output
        generated = 0.0 if used.complete else self._speed(model) * used.seconds
        return prompt + max(used.output, generated)

    def learn(self, turn: Turn, now: float) -> None:
        """`turn` has ended. One that did not end by itself says nothing about others."""
        used = turn.tokens()
        if not used.complete:
            return
        self._outputs.setdefault(turn.model, Recent()).add(used.output)
        self._seconds.setdefault(turn.model, Recent()).add(now - (turn.started or now))

    def left(self, turn: Turn, now: float) -> float:
        """The seconds for which a running turn goes on."""
        age = now - (turn.started or now)
        return self._times(turn.model).mean_above(age, UNKNOWN_SECONDS) - age

    def waits(self, model: str, slots: int, left: Sequence[float], count: int, begins: float) -> list[float]:
        """The seconds until each of `count` requests, one after the other, gets one of the model's slots.
        `left` is for how long slots are busy; none is free before `begins`.
        """
        expected = self._times(model).mean(UNKNOWN_SECONDS)
        free_in = [max(begins, seconds) for seconds in left]
        free_in += [begins] * (max(slots, 1) - len(free_in))
        heapify(free_in)
        return [heapreplace(free_in, free_in[0] + expected) for _ in range(count)]

    def _times(self, model: str) -> Recent:
        return self._seconds.get(model) or Recent()

    def _speed(self, model: str) -> float:
        """The tokens of an answer a second."""
        seconds = self._times(model).mean(UNKNOWN_SECONDS)
        return self.output_cost(model) / max(seconds, 0.001)
