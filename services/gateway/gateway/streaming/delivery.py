"""Sends an answer to its client, and tracks whether the client reads it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.types import Message, Receive, Send

from ..dialects.refusal import Refusal
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import GatewayError, ReaderStalled
from ..telemetry.metrics import STALLED_READERS

STALLED = "the client read nothing for too long"


class Connection(Protocol):
    """Direct access to the client's connection, an extension of ASGI by our worker.

    Bytes written here bypass uvicorn's `send` and all middleware: see `http.bypass`. `on_lost` is called as
    soon as the connection is lost, before any task is woken.
    """

    on_lost: Callable[[], None] | None

    def write(self, body: bytes) -> Awaitable[None] | None:
        """Write a part of the body; the awaitable, if any, must be awaited before the next write."""

    def abort(self) -> None:
        """Drop the connection and its unsent data: closing it would wait for the reader."""


class Delivery:
    """The only caller of `receive` and `send` for streamed answers: see `Destination`.

    `headers` are added to those of the answer or the refusal. `direct` is the connection after the first
    chunk.
    """

    def __init__(self, receive: Receive, send: Send, connection: Connection | None) -> None:
        self._receive = receive
        self._send = send
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.direct: Connection | None = None
        self.committed = self.complete = False
        self.sending_since: float | None = None
        self.last_out = self.status_at = self._loop.time()

    @property
    def delivered(self) -> bool:
        """Whether the whole answer has been sent."""
        return self.complete and self.sending_since is None

    def when_lost(self, abandon: Callable[[], None] | None) -> None:
        """Call this as soon as the connection is lost, if the server can tell."""
        if self._connection:
            self._connection.on_lost = abandon

    async def left(self) -> None:
        """Return when the client has disconnected: uvicorn's `send` then returns silently."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def asked(self, server: str) -> None:
        """A client is told nothing of it."""

    async def commit(self, dialect: Stream | Whole, seconds: float) -> None:
        """Begin the answer before its first frame. Raises ReaderStalled.

        It blocks while the client does not read the answers to its earlier requests.
        """
        try:
            # Not in a task of its own, before whose first step a frame might be sent.
            async with asyncio.timeout(seconds):
                await self._start(dialect)
        except TimeoutError:
            raise ReaderStalled(STALLED) from None

    async def send(self, dialect: Stream | Whole, frames: bytes, *, last: bool) -> None:
        """Send a part of the answer; returns when the client can accept more."""
        self.complete = last
        self.sending_since = self._loop.time()
        if not self.committed:
            await self._start(dialect)
        await self._send({"type": "http.response.body", "body": frames, "more_body": not last})
        self.sending_since = None
        self.last_out = self._loop.time()

    def go_direct(self) -> None:
        """Write all further frames directly to the connection."""
        self.direct = self._connection

    async def drain(self, drained: Awaitable[None]) -> None:
        """Wait until the client has read enough of what was written."""
        self.sending_since = self._loop.time()
        await drained
        self.sending_since = None
        self.last_out = self._loop.time()

    async def send_heartbeat(
        self, body: bytes, stopped: asyncio.Future[GatewayError], seconds: float
    ) -> None:
        """Send bytes that are not part of the answer; returns early if stopped. Raises ReaderStalled."""
        await self._within(self._send_unless_complete(_part(body, more=True)), stopped, seconds)

    async def close(self, final: bytes, seconds: float) -> None:
        """Send the final frames of a stream that has not ended by itself. Raises ReaderStalled."""
        await self._within(self._send_unless_complete(_part(final, more=False)), None, seconds)

    async def refuse(self, refusal: Refusal, seconds: float) -> None:
        """Send an error response instead of an answer. Raises ReaderStalled."""
        await self._within(self._send_refusal(refusal), None, seconds)

    def drop(self) -> None:
        """Drop a client that does not read, with its unsent data."""
        STALLED_READERS.inc()
        if self._connection:
            self._connection.abort()

    async def _within(
        self, sent: Awaitable[None], stopped: asyncio.Future[GatewayError] | None, seconds: float
    ) -> None:
        sending = asyncio.ensure_future(sent)
        either: set[asyncio.Future[Any]] = {sending} if stopped is None else {sending, stopped}
        try:
            done, _ = await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.wait({sending})
        if sending in done:
            sending.result()
            self.last_out = self._loop.time()
        elif not done:
            raise ReaderStalled(STALLED)

    async def _start(self, dialect: Stream | Whole) -> None:
        self.committed = True  # before it is sent: a frame may arrive meanwhile
        start = {"status": dialect.http_status, "headers": [*dialect.headers, *self.headers]}
        try:
            await self._send({"type": "http.response.start", **start})
        except asyncio.CancelledError:
            self.committed = False
            raise

    async def _send_refusal(self, refusal: Refusal) -> None:
        start, body = refusal.messages()
        await self._send({**start, "headers": [*start["headers"], *self.headers]})
        await self._send(body)

    async def _send_unless_complete(self, message: Message) -> None:
        """Send unless the answer has been completed since the task was created."""
        if not self.complete:
            await self._send(message)


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
