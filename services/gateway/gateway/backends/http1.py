"""One HTTP/1.1 connection to upstream (RFC 9112), without upgrades; trailers are dropped."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import httpx

from .response_body import Body

# Idle connections are closed before servers usually do it, so that few are stale.
IDLE_SECONDS = 30

# Far more than a model server sends. MAX_HEAD_BYTES also bounds trailers and other bytes outside a body.
MAX_HEADERS = 200
MAX_HEAD_BYTES = 256 * 1024

# Scheme, host and port.
Origin = tuple[str, str, int]


async def in_chunks(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Chunked transfer coding of a body of unknown length: RFC 9112, section 7.1."""
    async for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """Status and headers of a response. `body` must be closed."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: Body

    @property
    def media_type(self) -> str:
        return self.header(b"content-type")

    def header(self, name: bytes) -> str:
        """The header's value, empty if it is missing."""
        found = (value for field, value in self.headers if field.lower() == name)
        return next(found, b"").decode("latin-1")


class Connection(asyncio.Protocol):
    """One connection and its current request; requests are sequential.

    Raises httpx.ReadError and RemoteProtocolError. `response_began` is whether any byte of it has arrived.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        origin: Origin,
        keep: "Callable[[Connection], None]",
        forget: "Callable[[Connection], None]",
    ) -> None:
        self.origin = origin
        self.response_began = False
        self._keep = keep
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost: Exception | None = None

    @property
    def peer(self) -> str:
        """The server's address, empty if it has left already."""
        return str((self.transport.get_extra_info("peername") or ("",))[0])

    async def ask(self, head: bytes, body: bytes | AsyncIterable[bytes]) -> Answer:
        if self._lost:
            raise httpx.ReadError(f"the connection was lost: {self._lost}")
        self.response_began = False
        self._asks_for_head = head.startswith(b"HEAD ")
        self._headers: list[tuple[bytes, bytes]] = []
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._head = answer
        self._reusable = self._until_close = False
        self._no_body_yet = 0
        self.body = Body(self.transport, self.release)
        self.on_body = self.body.append  # called by httptools directly
        self._parser = httptools.HttpResponseParser(self)
        try:
            if isinstance(body, bytes):
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                await self._send(body)
            return await answer
        finally:
            answer.cancel()  # after an error nothing awaits it any more
            del answer  # its exception references this frame

    async def _send(self, body: AsyncIterable[bytes]) -> None:
        """Send a body in chunks. A response that arrives before its end is an error and ends it."""
        sending = asyncio.ensure_future(self._send_chunks(body))
        either: set[asyncio.Future[Any]] = {sending, self._head}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                self._reusable = False  # the server would take the next request for the rest of the body
        finally:
            sending.cancel()

    async def _send_chunks(self, body: AsyncIterable[bytes]) -> None:
        async for piece in body:
            self.transport.write(piece)
            if self._writable:
                await self._writable

    def abort(self) -> None:
        self.transport.abort()

    def release(self) -> None:
        """The body is closed: keep the connection if all of it has been read."""
        if self._lost or not self.body.complete or not self._reusable:
            self.abort()
            return
        self._expiry = self._loop.call_later(IDLE_SECONDS, self.abort)
        self._keep(self)

    def leave_idle(self) -> None:
        if self._expiry:
            self._expiry.cancel()
            self._expiry = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._expiry:  # a response without a request
            self.abort()
            return
        self.response_began = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.body.end_of_read()
            self._protocol_error(str(error) or "unexpected protocol upgrade")
            return
        if self.body.end_of_read():
            self._no_body_yet = 0
        else:
            self._no_body_yet += len(data)
            if self._no_body_yet > MAX_HEAD_BYTES:
                self._protocol_error(f"more than {MAX_HEAD_BYTES} bytes arrived outside a body")

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("the connection was closed")
        self.resume_writing()
        self.leave_idle()
        self._forget(self)
        if not hasattr(self, "body"):
            return
        if self._head.done() and self._until_close and exc is None:
            self.on_message_complete()
            self.body.end_of_read()
        else:
            self._fail(httpx.ReadError(f"the connection was lost: {self._lost}"))
        # They reference this connection: a cycle would wait for the garbage collector.
        del self._parser, self.body, self._head

    def _protocol_error(self, reason: str) -> None:
        self._fail(httpx.RemoteProtocolError(reason))
        self.abort()

    def _fail(self, error: Exception) -> None:
        if not self._head.done():
            self._head.set_exception(error)
        else:
            self.body.fail(error)

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head.done():
            return  # a trailer
        self._headers.append((name, value))
        if len(self._headers) > MAX_HEADERS:
            raise httpx.RemoteProtocolError(f"more than {MAX_HEADERS} headers arrived")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an informational response
            self._headers = []
            return
        names = {name.lower() for name, _ in self._headers}
        self._reusable = self._parser.should_keep_alive()
        bodiless = self._asks_for_head or status in (204, 304)
        self._until_close = not bodiless and not names & {b"content-length", b"transfer-encoding"}
        if bodiless:
            # The parser does not know the request's method and would wait for the announced body.
            self._reusable = False
            self.body.complete = True
        if not self._head.done():
            self._head.set_result(Answer(status, self._headers, self.body))

    def on_message_complete(self) -> None:
        if self._head.done():
            self.body.complete = True
