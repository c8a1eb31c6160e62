"""Go's durations, which is how Ollama reads `keep_alive`."""

import re

from .errors import BadRequestError

NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
NANOSECONDS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_TERM.pattern})+)", re.ASCII)

FOREVER = (2**63 - 1) / 10**9
"""Go's longest duration, about 292 years: Ollama's reading of a negative keep_alive."""


def parse_duration(text: str) -> float:
    """Converts a Go duration such as `1h30m` or `-1.5s` to seconds. Raises ValueError for anything else."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * NANOSECONDS[unit] for number, unit in _TERM.findall(text)) / 10**9
    return -seconds if text.startswith("-") else seconds


def keep_alive_seconds(value: object) -> float:
    """Converts Ollama's `keep_alive`: a number of seconds or a Go duration; negative means forever."""
    match value:
        case bool():
            raise BadRequestError("Unsupported type: 'bool'")
        case int() | float():
            seconds = float(value)
        case str():
            try:
                seconds = parse_duration(value)
            except ValueError as error:
                raise BadRequestError(str(error)) from error
        case _:
            kind = "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
            raise BadRequestError(f"Unsupported type: '{kind}'")
    return FOREVER if seconds < 0 else min(seconds, FOREVER)
