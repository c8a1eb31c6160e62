"""Response headers that tell a client its limits and what is left of them.

https://platform.openai.com/docs/guides/rate-limits and https://docs.anthropic.com/en/api/rate-limits
"""

import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from .refusal import Headers


class Quota(NamedTuple):
    """What is left of a limit; `reset` is the time in seconds until all of it is."""

    unit: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset: float


def openai_headers(quotas: Iterable[Quota]) -> Headers:
    """`x-ratelimit-limit-requests: 60` and so on; the reset is a duration like `6m0s`."""
    return [
        (b"x-ratelimit-%b-%b" % (field, quota.unit.encode()), value)
        for quota in quotas
        for field, value in (
            (b"limit", b"%d" % quota.limit),
            (b"remaining", b"%d" % quota.remaining),
            (b"reset", _duration(math.ceil(quota.reset))),
        )
    ]


def anthropic_headers(quotas: Iterable[Quota]) -> Headers:
    """`anthropic-ratelimit-requests-limit: 60` and so on; the reset is a time in RFC 3339's format."""
    return [
        (b"anthropic-ratelimit-%b-%b" % (quota.unit.encode(), field), value)
        for quota in quotas
        for field, value in (
            (b"limit", b"%d" % quota.limit),
            (b"remaining", b"%d" % quota.remaining),
            (b"reset", _time_after(quota.reset)),
        )
    ]


def header_names() -> tuple[str, ...]:
    """All names of these headers."""
    quotas = [Quota("requests", 1, 1, 0), Quota("tokens", 1, 1, 0)]
    return tuple(name.decode() for name, _ in openai_headers(quotas) + anthropic_headers(quotas))


def _duration(seconds: int) -> bytes:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, seconds)
    return b"%dm%ds" % (minutes, seconds) if minutes else b"%ds" % seconds


def _time_after(seconds: float) -> bytes:
    moment = datetime.fromtimestamp(math.ceil(time.time() + seconds), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
