"""The header `Prefer` (RFC 7240): how long an answer is to outlive its connection."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_SECONDS = re.compile(r"[0-9]{1,9}")

# What is between commas, which a quoted string may contain too.
_ITEM = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+"?)++')
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PREFERENCE = re.compile(rf'[ \t]*({_WORD})[ \t]*(?:=[ \t]*("[^"]*"|{_WORD})?[ \t]*)?(?:;|\Z)')


class Preference(NamedTuple):
    """`seconds` is how long the answer waits for a reader; `responds_async` whether the first one comes by a
    request of its own.
    """

    seconds: int
    responds_async: bool

    @property
    def applied(self) -> bytes:
        """The value of `Preference-Applied`."""
        resume = b"resume=%d" % self.seconds
        return b"respond-async, " + resume if self.responds_async else resume


def preference(headers: Iterable[tuple[bytes, bytes]], longest: int) -> Preference | None:
    """What a request prefers, at most `longest` seconds; None if its answer is to end with its connection.

    As the RFC asks, what is unknown or malformed is ignored, and of repeated preferences the first counts.
    """
    said = [value.decode("latin-1") for name, value in headers if name == b"prefer"]
    if not said or not longest:
        return None
    wishes: dict[str, str] = {}
    for item in (item for value in said for item in _ITEM.findall(value)):
        if match := _PREFERENCE.match(item):
            wishes.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    responds_async = "respond-async" in wishes
    resume = wishes.get("resume", "")
    seconds = int(resume) if _SECONDS.fullmatch(resume) else 0
    if not seconds and not responds_async:
        return None
    return Preference(min(seconds or longest, longest), responds_async)
