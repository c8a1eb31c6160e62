"""Notices a model server that accepts requests and answers none."""

import math
import time
from typing import NamedTuple

from ..ask.ask import Ask

# The first byte of a stream is its first token; a request for a list is answered at once.
SILENT_SECONDS = 30

# Even a slow server evaluates a token of a prompt in this time.
TOKEN_SECONDS = 0.05


def patience(ask: Ask) -> float:
    """Seconds after which a request should have got a first byte; infinite if that is its whole answer."""
    if not ask.route.operation:
        return SILENT_SECONDS
    return SILENT_SECONDS + ask.prompt_estimate * TOKEN_SECONDS if ask.streams else math.inf


class _Asked(NamedTuple):
    at: float
    patience: float


class Silence:
    """Of one server. Times are of the monotonic clock; `answered_at` is when it began its last answer."""

    def __init__(self) -> None:
        self.answered_at = -math.inf
        self._unanswered: dict[object, _Asked] = {}
        self._noticed_at = -math.inf

    @property
    def since(self) -> float | None:
        """When it was asked for what it should have answered by now, if it has answered nothing since."""
        heard, now = max(self.answered_at, self._noticed_at), time.monotonic()
        return next(
            (at for at, patience in self._unanswered.values() if at > heard and now - at > patience), None
        )

    def asked(self, patience: float) -> object:
        """A request is sent; returns what stands for it in `ended`."""
        request = object()
        self._unanswered[request] = _Asked(time.monotonic(), patience)
        return request

    def ended(self, request: object) -> None:
        """It is answered, or has failed."""
        del self._unanswered[request]

    def answered(self) -> None:
        self.answered_at = time.monotonic()

    def noticed(self) -> None:
        """What was sent before says nothing more: only later requests show whether it is still silent."""
        self._noticed_at = time.monotonic()
