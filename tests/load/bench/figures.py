"""Statistics, and how numbers are printed."""

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed; infinite if there are none."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def ratio(values: Sequence[float], base: Sequence[float]) -> float | None:
    """The median as a multiple of the base's median; None where that is meaningless."""
    if not values or not base or median(base) <= 0:
        return None
    return median(values) / median(base)


def number(value: float) -> str:
    """The number with three significant digits."""
    if value == float("inf"):
        return "none"
    size = abs(value)
    if size < 0.005:
        return "0"
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
