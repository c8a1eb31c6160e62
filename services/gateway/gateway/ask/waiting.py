"""What an answer waits for before it begins, for whoever wants to know."""

from typing import Protocol


class Waiting(Protocol):
    def accepted(self) -> None:
        """The caller may ask this: from now on it counts."""

    def waits_for(self, state: str, **fields: object) -> None:
        """`state` in a word, such as `loading`. Clients are told whose format can say it."""

    def asked(self, backend: str) -> None:
        """Upstream is about to be asked: its own limits begin."""
