"""Streamed or buffered: compares creation and arrival times of tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

# What counts as on time: a scheduling hiccup of a busy machine, or a tenth of the answer's whole duration.
LATENESS_SECONDS = 0.25
LATENESS_SHARE = 0.1


@dataclass(frozen=True)
class Timing:
    """Timing of one answer in seconds. `lateness` is relative to the fastest event, so clocks may differ."""

    events: int
    distinct_arrivals: int
    time_to_first_event: float
    total: float
    arrival_span: float
    generation_span: float | None
    gap_median: float
    gap_longest: float
    lateness_median: float | None
    lateness_longest: float | None

    @property
    def streamed(self) -> bool | None:
        """None if the model server does not report when it created its tokens."""
        if self.generation_span is None or self.lateness_median is None:
            return None
        allowed = max(LATENESS_SECONDS, LATENESS_SHARE * self.generation_span)
        return self.lateness_median <= allowed and self.arrival_span >= self.generation_span - 2 * allowed


def measure(arrived: Sequence[float], generated: Sequence[float | None]) -> Timing:
    """`arrived` and `generated` belong together event by event; at least one event."""
    gaps = [later - earlier for earlier, later in pairwise(arrived)] or [0.0]
    stamped = [(a, g) for a, g in zip(arrived, generated, strict=True) if g is not None]
    delays = [a - g for a, g in stamped]
    lateness = [delay - min(delays) for delay in delays]
    return Timing(
        events=len(arrived),
        distinct_arrivals=len(set(arrived)),
        time_to_first_event=arrived[0],
        total=arrived[-1],
        arrival_span=arrived[-1] - arrived[0],
        generation_span=stamped[-1][1] - stamped[0][1] if stamped else None,
        gap_median=median(gaps),
        gap_longest=max(gaps),
        lateness_median=median(lateness) if lateness else None,
        lateness_longest=max(lateness) if lateness else None,
    )
