"""One request that waits for a slot or has one."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..ask.affinity import LoadOptions
from ..ask.waiting import Used
from ..errors import GatewayError

# For so long a request avoids a server that has failed it. Not for ever: that one may be back, and the others
# full.
AVOID_SECONDS = 5.0

NO_SERVERS: frozenset[str] = frozenset()

# The model, the options with which it has to be loaded, and the servers that have failed it.
Lane = tuple[str, LoadOptions, frozenset[str]]


class Standing(NamedTuple):
    """Position, from 1, among the `of` requests that wait for the same model, and the expected wait."""

    position: int
    of: int
    eta_seconds: int

    def differs(self, other: "Standing") -> bool:
        """Whether it is worth telling somebody who knows `other`."""
        low, high = sorted((self.eta_seconds, other.eta_seconds))
        return self[:2] != other[:2] or high >= 2 * low + 2


@dataclass(eq=False, slots=True)
class Turn:
    """`caller` is whom the turn is counted for, the name of a key or an address, and `weight` its share.
    `cost` is the expected number of tokens, `tokens` reports those used so far. `stop` ends the request.
    `conversation` is the same number for each turn of a conversation, 0 if it is not known.
    Times are of the monotonic clock.
    """

    request_id: str
    caller: str
    model: str
    tokens: Callable[[], Used]
    stop: Callable[[GatewayError], None]
    options: LoadOptions = frozenset()
    key: str | None = None
    weight: float = 1
    cost: float = 1
    prompt_cost: float = 0
    entered: float = 0
    started: float | None = None
    standing: Standing | None = None
    # Since when requests that are due later go first, because the model is not loaded.
    passed_over_since: float | None = None
    # Counts all turns in the order of their arrival.
    number: int = 0
    conversation: int = 0
    # The server at which it runs or has run last; those that have failed it, and when the last one did.
    server: str = ""
    tried: frozenset[str] = frozenset()
    failed_at: float = 0

    @property
    def avoided(self) -> frozenset[str]:
        """Servers at which it should not begin again so soon."""
        return self.tried if self.tried and time.monotonic() < self.failed_at + AVOID_SECONDS else NO_SERVERS

    def fail(self) -> None:
        """Its server has failed."""
        self.tried = self.avoided | {self.server}
        self.failed_at, self.started = time.monotonic(), None

    @property
    def lane(self) -> Lane:
        return self.model, self.options, self.tried

    @property
    def is_running(self) -> bool:
        return self.started is not None
