"""One request that waits for a slot or has one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..ask.affinity import LoadOptions
from ..ask.waiting import Used
from ..errors import GatewayError

# The model and the options with which it has to be loaded.
Lane = tuple[str, LoadOptions]


class Standing(NamedTuple):
    """Position, from 1, among the `of` requests that wait for the same model, and the expected wait."""

    position: int
    of: int
    eta_seconds: int


@dataclass(eq=False, slots=True)
class Turn:
    """`caller` is whom the turn is counted for, the name of a key or an address, and `weight` its share.
    `cost` is the expected number of tokens, `tokens` reports those used so far. `stop` ends the request.
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

    @property
    def lane(self) -> Lane:
        return self.model, self.options

    @property
    def is_running(self) -> bool:
        return self.started is not None

    def used(self) -> float:
        """The tokens used so far; those of the prompt are estimated while they are not reported."""
        used = self.tokens()
        prompt = self.prompt_cost if used.prompt is None else used.prompt
        return max(1.0, prompt + used.output)
