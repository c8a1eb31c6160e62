"""The result of one check by `make doctor`, with the command that fixes what is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TextIO

from deploy.terminal.messages import say

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Result:
    level: Level
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level:5} {self.message}" + (f". {self.fix}" if self.fix else "")


def ok(message: str) -> Result:
    return Result("ok", message)


def warn(message: str, fix: str = "") -> Result:
    return Result("warn", message, fix)


def fail(message: str, fix: str) -> Result:
    return Result("fail", message, fix)


def report(results: Iterable[Result], to: TextIO, *, with_ok: bool = True) -> bool:
    """Prints each result as it comes; returns whether none of them is a fail."""
    good = True
    for result in results:
        good = good and result.level != "fail"
        if with_ok or result.level != "ok":
            say(result, to)
    return good
