"""Progress of an answer, reported from below while its client waits."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from ..errors import GatewayError


class Status(NamedTuple):
    """What an answer waits for, such as `loading`. Clients are told of each new object, so reuse it."""

    state: str
    fields: Mapping[str, object]


class Used(NamedTuple):
    """Tokens of an answer so far. Those of the prompt are None until they are reported."""

    prompt: int | None
    output: int


class Waiting(Protocol):
    request_id: str

    def accepted(self) -> None:
        """The request has passed the access checks, and may have to wait."""

    def waits_for(self, status: Callable[[], Status | None]) -> None:
        """The answer waits; `status` is looked at again and again, and sent if the client's format can."""

    def admitted(self) -> None:
        """The request has a slot."""

    def asked(self, backend: str) -> None:
        """The request is about to be sent upstream: upstream's time limits begin."""

    def tokens(self) -> Used:
        """The tokens used so far."""

    def stop(self, reason: GatewayError) -> None:
        """End the answer."""
