"""What a key may use: its limits and its weight in the queue, as one column of the key file.

The column looks like `requests=60/m;tokens=20k/m,1M/d;concurrent=2;max_output=500;weight=2`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..limits import NO_LIMITS, NOTHING, Limits, Window, parse_count, parse_windows, windows_text


@dataclass(frozen=True)
class Terms:
    limits: Limits = NO_LIMITS
    weight: int = 1

    def __str__(self) -> str:
        """The column; empty if everything is at its default."""
        limits = self.limits
        values = {
            "requests": windows_text(limits.requests),
            "tokens": windows_text(limits.tokens),
            "concurrent": limits.concurrent,
            "max_output": limits.max_output,
            "weight": self.weight if self.weight != 1 else None,
        }
        return ";".join(f"{name}={value}" for name, value in values.items() if value)

    def changed(self, values: Mapping[str, Any]) -> "Terms":
        """These terms with other values of some of `PARSERS`' names."""
        limits = {name: value for name, value in values.items() if name != "weight"}
        return Terms(replace(self.limits, **limits), values.get("weight", self.weight))


DEFAULT_TERMS = Terms()


def parse_terms(column: str) -> Terms:
    """Raises ValueError."""
    if column == NOTHING:
        return DEFAULT_TERMS
    values: dict[str, Any] = {}
    for part in column.split(";"):
        name, _, text = part.partition("=")
        if name not in PARSERS:
            raise ValueError(f"unknown limit {name[:20]}; use {', '.join(PARSERS)}, like requests=60/m")
        if name in values:
            raise ValueError(f"{name} occurs twice")
        values[name] = PARSERS[name](text)
    return DEFAULT_TERMS.changed(values)


def parse_given_windows(text: str) -> tuple[Window, ...]:
    """As `parse_windows`, but an unset variable must not remove a limit. Raises ValueError."""
    if not text:
        raise ValueError(f"a limit is like 60/m or 20k/m,1M/d; {NOTHING} for none")
    return parse_windows(text)


def parse_weight(text: str) -> int:
    """Raises ValueError."""
    return parse_count(text) or 1


PARSERS: dict[str, Callable[[str], Any]] = {
    "requests": parse_given_windows,
    "tokens": parse_given_windows,
    "concurrent": parse_count,
    "max_output": parse_count,
    "weight": parse_weight,
}
