"""What admission and backends report about an answer, and learn about it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol


class Used(NamedTuple):
    """Tokens of an answer so far; `prompt` is None while it is unknown."""

    prompt: int | None
    output: int


class Waiting(Protocol):
    def accepted(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """The request has passed the access checks and limits. `headers` are added to the answer's."""

    def waits_for(self, state: str, **fields: object) -> None:
        """The answer waits for `state`, such as `loading`. Sent to clients whose format can express it."""

    def asked(self, backend: str) -> None:
        """The request is about to be sent upstream: upstream's time limits begin."""

    def tokens(self) -> Used:
        """The tokens used so far, as reported by upstream or else counted."""

    def when_sent(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Await `settle` once the whole answer has been sent, before the client can send its next request.

        The source is left later: when upstream has ended its body, or not ended it in time.
        """
