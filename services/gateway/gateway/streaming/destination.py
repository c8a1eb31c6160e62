"""Where an answer goes: what generation and relay need of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from ..dialects.refusal import Refusal
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import GatewayError


class Writer(Protocol):
    """Takes frames within the read that brought them."""

    def write(self, frames: bytes) -> Awaitable[None] | None:
        """The awaitable, if any, must be awaited before the next write."""


class Destination(Protocol):
    """A client's connection (`delivery.Delivery`), or an answer that outlives it (`answers.kept.Kept`).

    `direct` takes further frames, once the first has been sent. `committed` is whether the answer has begun,
    `complete` whether its end has been handed over, `delivered` whether that has also been sent.
    `sending_since` is the start of a send that is not accepted yet, else None. `last_out` is the time of the
    last send, `status_at` that of the last look at what the answer waits for, by the event loop's clock.
    """

    headers: Sequence[tuple[bytes, bytes]]
    committed: bool
    complete: bool
    last_out: float
    status_at: float

    @property
    def direct(self) -> Writer | None: ...

    @property
    def delivered(self) -> bool: ...

    @property
    def sending_since(self) -> float | None: ...

    def when_lost(self, abandon: Callable[[], None] | None) -> None:
        """Call this as soon as nobody can receive the answer, if that can be told."""

    async def left(self) -> None:
        """Return when nobody can receive the answer."""

    def asked(self, server: str) -> None:
        """The model server of this name has the request."""

    async def commit(self, dialect: Stream | Whole, seconds: float) -> None:
        """Begin the answer before its first frame. Raises ReaderStalled."""

    async def send(self, dialect: Stream | Whole, frames: bytes, *, last: bool) -> None:
        """Send a part of the answer; returns when more can be accepted."""

    def go_direct(self) -> None:
        """Let `direct` take all further frames."""

    async def drain(self, drained: Awaitable[None]) -> None:
        """Wait for what a write has returned."""

    async def send_heartbeat(
        self, body: bytes, stopped: asyncio.Future[GatewayError], seconds: float
    ) -> None:
        """Send bytes that are not part of the answer; returns early if stopped. Raises ReaderStalled."""

    async def close(self, final: bytes, seconds: float) -> None:
        """Send the end of a stream that has not ended by itself. Raises ReaderStalled."""

    async def refuse(self, refusal: Refusal, seconds: float) -> None:
        """Send an error response instead of an answer. Raises ReaderStalled."""

    def drop(self) -> None:
        """Drop a client that does not read."""
