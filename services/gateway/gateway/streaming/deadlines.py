"""Deadlines of an answer: the next heartbeat or timeout."""

import math
from typing import Literal, NamedTuple

from ..settings import Settings
from .destination import Destination
from .generation import TAIL_SECONDS, Generation

What = Literal["nothing", "heartbeat", "status", "upstream timeout", "answer too long", "send timeout"]

# A heartbeat this close to upstream's timeout is not sent: it would only turn the error into an event.
MIN_LEAD_SECONDS = 0.01

# A client is told at most this often what its answer waits for.
STATUS_SECONDS = 1.0


class Due(NamedTuple):
    """`at` is in seconds of the event loop's clock."""

    at: float
    what: What


class Deadlines:
    """Computes the next deadline from the state of generation and delivery; has no timers.

    `shortest` is the longest time to wait before computing again: bytes may begin to flow, or a send may
    block, while the caller waits for an earlier deadline.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.shortest = min(
            settings.heartbeat,
            settings.idle_timeout,
            settings.send_timeout,
            settings.first_byte_timeout,
            settings.max_answer_seconds or math.inf,
        )

    def next(self, generation: Generation, delivery: Destination, now: float) -> Due:
        if generation.accepted_at is None:
            return Due(now + self._settings.early_commit, "nothing")  # the first that can be due after it
        if delivery.delivered:
            return Due(now + TAIL_SECONDS, "nothing")  # the tail has its own limit
        end = Due(self._answer_limit(generation, delivery), "answer too long")
        if delivery.sending_since is not None:
            return _earlier(Due(delivery.sending_since + self._settings.send_timeout, "send timeout"), end)
        limit = _earlier(Due(self._upstream_limit(generation), "upstream timeout"), end)
        heartbeat = self._next_heartbeat(generation, delivery)
        if heartbeat >= limit.at - MIN_LEAD_SECONDS:
            return limit
        status = self._next_status(generation, delivery)
        return Due(status, "status") if status < heartbeat else Due(heartbeat, "heartbeat")

    def _answer_limit(self, generation: Generation, delivery: Destination) -> float:
        """The end of the longest answer, until this one is complete."""
        if generation.asked_at is None or delivery.complete or not self._settings.max_answer_seconds:
            return math.inf
        return generation.asked_at + self._settings.max_answer_seconds

    def _upstream_limit(self, generation: Generation) -> float:
        """Upstream's timeout, which begins when the request is sent, not while it waits for admission."""
        if generation.last_in is None:
            return math.inf
        if generation.answering:
            return generation.last_in + self._settings.idle_timeout
        return generation.last_in + self._settings.first_byte_timeout

    def _next_status(self, generation: Generation, delivery: Destination) -> float:
        """While the answer waits, if its client can be told what for."""
        is_told = delivery.committed and generation.status and generation.dialect.shows_status
        return delivery.status_at + STATUS_SECONDS if is_told else math.inf

    def _next_heartbeat(self, generation: Generation, delivery: Destination) -> float:
        if not generation.dialect.heartbeat:
            return math.inf
        if delivery.committed:
            return delivery.last_out + self._settings.heartbeat
        assert generation.accepted_at is not None
        return generation.accepted_at + self._settings.early_commit


def _earlier(one: Due, other: Due) -> Due:
    return other if other.at < one.at else one
