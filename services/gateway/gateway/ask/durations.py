"""Durations as Ollama reads them: seconds, or a duration of Go's."""

import math
import re

SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}

# Bounded, because the text is a client's.
TERM = re.compile(r"(\d{1,20}\.?\d{0,20}|\.\d{1,20})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
DURATION = re.compile(rf"([+-]?)(0|(?:{TERM.pattern}){{1,20}})", re.ASCII)


def duration_seconds(value: object) -> float | None:
    """Infinite if it is negative, None if there is none or Ollama refuses it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return math.inf if value < 0 else value
    duration = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not duration:
        return None
    seconds = sum(float(number) * SECONDS[unit] for number, unit in TERM.findall(duration[2]))
    return math.inf if duration[1] == "-" and seconds else seconds
