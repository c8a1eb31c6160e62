"""One thing that `make doctor` has seen, and the command that mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TextIO

from telling import say

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:5} {self.what}" + (f". {self.mend}" if self.mend else "")


def ok(what: str) -> Finding:
    return Finding("ok", what)


def warn(what: str, mend: str = "") -> Finding:
    return Finding("warn", what, mend)


def fail(what: str, mend: str) -> Finding:
    return Finding("fail", what, mend)


def report(findings: Iterable[Finding], to: TextIO, *, with_ok: bool = True) -> bool:
    """Prints each finding as it comes; says whether none of them is a fail."""
    good = True
    for finding in findings:
        good = good and finding.level != "fail"
        if with_ok or finding.level != "ok":
            say(finding, to)
    return good
