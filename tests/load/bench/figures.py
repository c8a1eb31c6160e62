"""Arithmetic on what was measured."""

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
    """How many times the base's median the median is; None where that says nothing."""
    if not values or not base or median(base) <= 0:
        return None
    return median(values) / median(base)


def number(value: float) -> str:
    """Three digits that count."""
    if value == float("inf"):
        return "none"
    size = abs(value)
    if size < 0.005:
        return "0"
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
