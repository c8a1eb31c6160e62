"""Times as Ollama writes and reads them: Go's durations, RFC 3339 with nanoseconds."""

import re
from datetime import UTC, datetime

from .errors import BadRequestError

NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6}
NANOSECONDS |= {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"[+-]?(?:0|(?:{_TERM.pattern})+)", re.ASCII)

FOREVER = (2**63 - 1) / 10**9
"""The longest duration of Go, about 292 years: what Ollama takes a negative keep_alive for."""


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m` or `-1.5s`; ValueError otherwise."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'time: invalid duration "{text}"')
    seconds = sum(float(number) * NANOSECONDS[unit] for number, unit in _TERM.findall(text)) / 10**9
    return -seconds if text.startswith("-") else seconds


def keep_alive_seconds(value: object) -> float:
    """Ollama's `keep_alive`: a number of seconds or a Go duration; negative means for ever."""
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


def rfc3339(nanoseconds: int) -> str:
    """A Unix time in UTC, trailing zeros of the fraction left out as Go does."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{digits}Z"
