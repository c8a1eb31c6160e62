"""One client of an answer: what it is sent, and how it takes it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.types import Message, Send

from ..dialects.refusal import Refusal
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import GatewayError, ReaderStalled
from ..telemetry.metrics import STALLED_READERS


class Connection(Protocol):
    """The client's connection, where the server lets an application use it. ASGI knows no such thing.

    What is written there passes neither uvicorn's `send` nor any middleware: see `http.middleware`.
    `on_lost` is called at the moment at which the connection is lost, before anybody is woken.
    """

    on_lost: Callable[[], None] | None

    def write(self, body: bytes) -> Awaitable[None] | None:
        """A part of a begun response's body, at once; what is returned must be waited for before the next."""

    def abort(self) -> None:
        """Drops the connection with whatever waits to be sent: closing it would wait for the reader."""


class Delivery:
    """The only caller of `send` on answers that stream.

    `direct` is the connection once the first chunk is out. `sending_since` is since when the client has not
    taken what it was sent, None if it has. `last_out` is when it was last sent anything.
    """

    def __init__(self, send: Send, connection: Connection | None) -> None:
        self._send = send
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.direct: Connection | None = None
        self.committed = self.complete = False
        self.sending_since: float | None = None
        self.started = self.last_out = self._loop.time()

    @property
    def delivered(self) -> bool:
        """Whether the whole answer has been sent."""
        return self.complete and self.sending_since is None

    async def commit(self, dialect: Stream | Whole) -> None:
        self.committed = True
        start = {"status": dialect.http_status, "headers": dialect.headers}
        await self._send({"type": "http.response.start", **start})

    async def send(self, dialect: Stream | Whole, frames: bytes, *, last: bool) -> None:
        """A part of the answer; returns when the client can take more."""
        self.complete = last
        self.sending_since = self._loop.time()
        if not self.committed:
            await self.commit(dialect)
        await self._send({"type": "http.response.body", "body": frames, "more_body": not last})
        self.sending_since = None
        self.last_out = self._loop.time()

    def flow(self) -> None:
        """From now on what comes is written straight to the connection."""
        self.direct = self._connection

    async def drain(self, drained: Awaitable[None]) -> None:
        """Waits for a client that does not take what was written."""
        self.sending_since = self._loop.time()
        await drained
        self.sending_since = None
        self.last_out = self._loop.time()

    async def send_aside(self, body: bytes, stopped: asyncio.Future[GatewayError], seconds: float) -> None:
        """What is no part of the answer, as long as nothing stops that meanwhile. Raises ReaderStalled."""
        await self._within(self._send_unless_complete(_part(body, more=True)), stopped, seconds)

    async def close(self, last: bytes, seconds: float) -> None:
        """The last words of a begun answer that failed. Raises ReaderStalled."""
        await self._within(self._send(_part(last, more=False)), None, seconds)

    async def refuse(self, refusal: Refusal, seconds: float) -> None:
        """Instead of an answer. Raises ReaderStalled."""
        start, body = refusal.messages()
        await self._send(start)
        await self._within(self._send(body), None, seconds)

    def drop(self) -> None:
        """The client takes nothing: it loses what it has not taken."""
        STALLED_READERS.inc()
        if self._connection:
            self._connection.abort()

    async def _within(
        self, sent: Awaitable[None], stopped: asyncio.Future[GatewayError] | None, seconds: float
    ) -> None:
        sending = asyncio.ensure_future(sent)
        either: set[asyncio.Future[Any]] = {sending} if stopped is None else {sending, stopped}
        done, _ = await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if sending in done:
            sending.result()
            self.last_out = self._loop.time()
            return
        sending.cancel()
        if not done:
            raise ReaderStalled("the client took nothing for too long")

    async def _send_unless_complete(self, message: Message) -> None:
        """When this begins, the answer's end may have been sent since it was decided."""
        if not self.complete:
            await self._send(message)


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
