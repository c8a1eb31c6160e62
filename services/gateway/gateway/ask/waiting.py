"""Progress of an answer, reported from below while its client waits."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..errors import GatewayError


class Status(NamedTuple):
    """What an answer waits for, such as `loading`. A client is sent each object once."""

    state: str
    fields: Mapping[str, object]


class Used(NamedTuple):
    """Tokens of an answer so far, the seconds since upstream was asked, and whether it has ended by itself.
    `prompt` is None until the tokens are reported; before that `output` counts the chunks of a stream.
    """

    prompt: int | None
    output: int
    seconds: float = 0
    complete: bool = False


class Waiting(Protocol):
    """`accepted_at` is when `accepted` was called, by the event loop's clock."""

    request_id: str
    accepted_at: float | None

    def add_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Headers for the response, whether that is an answer or a refusal."""

    def accepted(self) -> None:
        """The request has passed the access checks and limits, and may have to wait."""

    def waits_for(self, status: Callable[[], Status | None]) -> None:
        """The answer waits, but not for upstream, whose time limits end. `status` is called at most once a
        second; while nothing has changed, it returns the same object. Clients whose format has no comments or
        events are sent heartbeats only.
        """

    def waited(self, seconds: float) -> None:
        """A wait for a slot is over: the request has one, is refused, or its client has left. It waits again
        if its server fails.
        """

    def loaded(self, backend: str, seconds: float) -> None:
        """The wait for the model to be loaded is over: it is, or cannot be, or the client has left."""

    def asked(self, backend: str) -> None:
        """The request is about to be sent upstream: upstream's time limits begin."""

    def tokens(self) -> Used:
        """The tokens used so far, as reported by upstream or else counted."""

    def when_sent(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Await `settle` once the whole answer has been sent, before the client can send its next request.

        The source is left later: when upstream has ended its body, or not ended it in time.
        """

    def stop(self, reason: GatewayError) -> None:
        """End the answer."""
