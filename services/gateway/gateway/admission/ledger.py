"""Who has a slot and who waits for one: what several gateways share, and one gateway keeps in memory."""

from collections.abc import Sequence
from typing import Protocol

from .turn import Turn


class Ledger(Protocol):
    """A turn goes through `enter`, `wait` and, whatever happens, `leave`."""

    async def enter(self, turn: Turn) -> None:
        """Take a slot, or a place in the queue. Raises QueueFull."""

    async def wait(self, turn: Turn) -> None:
        """Wait until the turn has a slot. Raises QueueTimeout."""

    def enter_again(self, turn: Turn) -> None:
        """A running turn has failed at its server: give back the slot and wait for one at another, at no cost
        and before the caller's later requests. The bounds of the queue do not apply.
        """

    def leave(self, turn: Turn) -> None:
        """Give back the slot, or the place in the queue; does nothing for a turn that has neither."""

    def advance(self) -> None:
        """Let everyone begin whose turn it is. Call it when the model servers can do more than before."""

    def turns(self) -> Sequence[Turn]:
        """This gateway's turns: those that run, then those that wait in their order, with their standings."""

    def update(self) -> None:
        """Update the standing of those that wait; at most once a second."""

    def share(self, slots: int) -> int:
        """Of a server's slots for a model those that this gateway may give; 0: no limit."""

    def free(self, server: str, model: str, slots: int) -> int:
        """Of a server's slots for a model those that it could give now; 0 also if there is no limit."""
