"""Limits of a key or of an address, and how they are written: `60/m`, `20k/m,1M/d`."""

import re
from dataclasses import dataclass

NOTHING = "-"

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LETTERS = {seconds: unit for unit, seconds in UNITS.items()}
FACTORS = {"": 1, "k": 1_000, "M": 1_000_000}

# Above any real limit, and exact in every client's floating point.
MAX_AMOUNT = 10**12

_WINDOW = re.compile(r"(\d{1,13})([kM]?)/([smhd])", re.ASCII)


@dataclass(frozen=True)
class Window:
    """At most `amount` within any `seconds`, which is the length of a unit."""

    amount: int
    seconds: int

    def __str__(self) -> str:
        factor = next(letter for letter in ("M", "k", "") if self.amount % FACTORS[letter] == 0)
        return f"{self.amount // FACTORS[factor]}{factor}/{LETTERS[self.seconds]}"


@dataclass(frozen=True)
class Limits:
    """No limit where there is no window, or None. `max_output` is the longest answer in tokens."""

    requests: tuple[Window, ...] = ()
    tokens: tuple[Window, ...] = ()
    concurrent: int | None = None
    max_output: int | None = None

    def or_default(self, default: "Limits") -> "Limits":
        """These limits; where there is none, the default's."""
        return Limits(
            self.requests or default.requests,
            self.tokens or default.tokens,
            self.concurrent or default.concurrent,
            self.max_output or default.max_output,
        )

    def share(self, parts: int) -> "Limits":
        """One of `parts` equal shares, rounded up. The length of an answer is not shared."""
        if parts == 1:
            return self
        return Limits(
            tuple(Window(-(-window.amount // parts), window.seconds) for window in self.requests),
            tuple(Window(-(-window.amount // parts), window.seconds) for window in self.tokens),
            self.concurrent and -(-self.concurrent // parts),
            self.max_output,
        )


NO_LIMITS = Limits()


def parse_windows(text: str) -> tuple[Window, ...]:
    """Parse `60/m` or `20k/m,1M/d`; empty or `-` is no limit. Raises ValueError."""
    if text in ("", NOTHING):
        return ()
    windows = tuple(_window(part.strip()) for part in text.split(","))
    if len({window.seconds for window in windows}) < len(windows):
        raise ValueError(f"{text!r} has two limits for the same unit of time; keep the smaller one")
    return windows


def windows_text(windows: tuple[Window, ...]) -> str:
    return ",".join(map(str, windows))


def parse_count(text: str) -> int | None:
    """Parse a number of at least 1; `-` is no limit. Raises ValueError."""
    if text == NOTHING:
        return None
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII):
        raise ValueError(f"{text!r} is not a whole number from 1 to 999999999, or {NOTHING} for no limit")
    return int(text)


def _window(text: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if not match:
        raise ValueError(
            f"{text!r} is not a limit; use a number, k or M after it if it is large, "
            "and one of /s, /m, /h, /d, like 60/m or 20k/m,1M/d"
        )
    amount = int(match[1]) * FACTORS[match[2]]
    if not 1 <= amount <= MAX_AMOUNT:
        raise ValueError(f"{text!r}: a limit is at least 1 and at most 1000000M")
    return Window(amount, UNITS[match[3]])
