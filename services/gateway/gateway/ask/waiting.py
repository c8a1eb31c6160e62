"""Progress of an answer before its first byte."""

from typing import Protocol


class Waiting(Protocol):
    def accepted(self) -> None:
        """The request has passed the access checks."""

    def waits_for(self, state: str, **fields: object) -> None:
        """The answer waits for `state`, such as `loading`. Sent to clients whose format can express it."""

    def asked(self, backend: str) -> None:
        """The request is about to be sent upstream: upstream's time limits begin."""
