"""What is due next in an answer: a sign of life for its client, or the end of somebody's time."""

import math
from typing import Literal, NamedTuple

from ..settings import Settings
from .delivery import Delivery
from .generation import TAIL_SECONDS, Generation

What = Literal["nothing", "sign of life", "upstream's limit", "reader's limit"]


class Due(NamedTuple):
    """`at` in seconds of the event loop's clock."""

    at: float
    what: What


class Deadlines:
    """Without a clock of their own: they say what is due from what generation and delivery know.

    `shortest` is how far off anything can be at least that is not known yet: bytes may begin to flow, or a
    send to block, while somebody waits for what was due.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.shortest = min(settings.heartbeat, settings.idle_timeout, settings.send_timeout)

    def next(self, generation: Generation, delivery: Delivery, now: float) -> Due:
        if delivery.delivered:
            return Due(now + TAIL_SECONDS, "nothing")  # the tail has its own limit
        if delivery.sending_since is not None:
            return Due(delivery.sending_since + self._settings.send_timeout, "reader's limit")
        limit = self._upstream_limit(generation)
        if generation.dialect.heartbeat and (sign_of_life := self._sign_of_life(delivery)) < limit:
            return Due(sign_of_life, "sign of life")
        return Due(limit, "upstream's limit")

    def _upstream_limit(self, generation: Generation) -> float:
        """Upstream has none before it is asked: what the answer waits for until then is not its time."""
        if generation.last_in is None:
            return math.inf
        if generation.began:
            return generation.last_in + self._settings.idle_timeout
        return generation.last_in + self._settings.first_byte_timeout

    def _sign_of_life(self, delivery: Delivery) -> float:
        if delivery.committed:
            return delivery.last_out + self._settings.heartbeat
        return delivery.started + self._settings.early_commit
