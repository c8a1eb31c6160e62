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
        # Since it was last heard of: when the first request was sent, and what part of their patience those
        # have waited that have left, all together.
        self._first_at = math.inf
        self._left = 0.0

    @property
    def since(self) -> float | None:
        """When it was asked for what it should have answered by now, if it has answered nothing since."""
        heard, now = max(self.answered_at, self._noticed_at), time.monotonic()
        for at, patience in self._unanswered.values():
            if at > heard and self._left + (now - at) / patience > 1:
                return min(at, self._first_at)
        return None

    def asked(self, patience: float) -> object:
        """A request is sent; returns what stands for it in `ended`."""
        request, now = object(), time.monotonic()
        self._unanswered[request] = _Asked(now, patience)
        self._first_at = min(self._first_at, now)
        return request

    def ended(self, request: object) -> None:
        """It is answered, or has failed."""
        del self._unanswered[request]

    def left(self, request: object) -> None:
        """Its client is about to leave without an answer."""
        at, patience = self._unanswered[request]
        self._left += (time.monotonic() - at) / patience

    def answered(self) -> None:
        self.answered_at = time.monotonic()
        self._forget()

    def noticed(self) -> None:
        """What was sent before says nothing more: only later requests show whether it is still silent."""
        self._noticed_at = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        self._first_at, self._left = math.inf, 0.0
