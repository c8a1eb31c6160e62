"""One connection to upstream, in HTTP/1.1 (RFC 9112), without upgrades; trailers are read and dropped."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import httpx

from .response_body import Body

# Idle connections are given up before servers usually close them, so that few are stale.
IDLE_SECONDS = 30

# Far more than a model server sends. The second one bounds trailers too, and whatever else is not a body.
MAX_HEADERS = 200
MAX_HEAD_BYTES = 256 * 1024

# Scheme, host and port.
Origin = tuple[str, str, int]


async def in_chunks(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """A body of unknown length on the wire: RFC 9112, section 7.1."""
    async for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """Status and headers, once they have come; `body` is to be left with `close`."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: Body

    @property
    def media_type(self) -> str:
        return self.header(b"content-type")

    def header(self, name: bytes) -> str:
        """Empty if there is none."""
        found = (value for field, value in self.headers if field.lower() == name)
        return next(found, b"").decode("latin-1")


class Connection(asyncio.Protocol):
    """One connection and the request that it is at, one after the other.

    Raises httpx.ReadError and RemoteProtocolError. `heard` is whether anything of the answer has come.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        origin: Origin,
        keep: "Callable[[Connection], None]",
        forget: "Callable[[Connection], None]",
    ) -> None:
        self.origin = origin
        self.heard = False
        self._keep = keep
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost: Exception | None = None

    async def ask(self, head: bytes, body: bytes | AsyncIterable[bytes]) -> Answer:
        if self._lost:
            raise httpx.ReadError(f"the connection was lost: {self._lost}")
        self.heard = False
        self._asks_for_head = head.startswith(b"HEAD ")
        self._headers: list[tuple[bytes, bytes]] = []
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._head = answer
        self._reusable = self._until_close = False
        self._no_body_yet = 0
        self.body = Body(self.transport, self.release)
        self.on_body = self.body.take  # httptools' callback, without a call between
        self._parser = httptools.HttpResponseParser(self)
        try:
            if isinstance(body, bytes):
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                await self._send(body)
            return await answer
        finally:
            answer.cancel()  # if it is not there, nobody will ask for it any more
            del answer  # an error in it knows this frame

    async def _send(self, body: AsyncIterable[bytes]) -> None:
        """A body that comes piece by piece. An answer that comes meanwhile is a refusal and ends it."""
        sending = asyncio.ensure_future(self._send_pieces(body))
        either: set[asyncio.Future[Any]] = {sending, self._head}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                self._reusable = False  # what follows on this connection would be taken for the rest
        finally:
            sending.cancel()

    async def _send_pieces(self, body: AsyncIterable[bytes]) -> None:
        async for piece in body:
            self.transport.write(piece)
            if self._writable:
                await self._writable

    def abort(self) -> None:
        self.transport.abort()

    def release(self) -> None:
        """The body has been left: the connection is used again if all of it has been read."""
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
        if self._expiry:  # an answer that nobody has asked for
            self.abort()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.body.end_of_read()
            self._give_up(str(error) or "another protocol was begun, which nobody asked for")
            return
        if self.body.end_of_read():
            self._no_body_yet = 0
        else:
            self._no_body_yet += len(data)
            if self._no_body_yet > MAX_HEAD_BYTES:
                self._give_up(f"more than {MAX_HEAD_BYTES} bytes came that are of no body")

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
        # They know this connection, and an error its frames: a circle would wait for the collector.
        del self._parser, self.body, self._head

    def _give_up(self, why: str) -> None:
        self._fail(httpx.RemoteProtocolError(why))
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
            raise httpx.RemoteProtocolError(f"more than {MAX_HEADERS} headers came")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # something to say before the answer
            self._headers = []
            return
        names = {name.lower() for name, _ in self._headers}
        self._reusable = self._parser.should_keep_alive()
        bodiless = self._asks_for_head or status in (204, 304)
        self._until_close = not bodiless and not names & {b"content-length", b"transfer-encoding"}
        if bodiless:
            # The parser does not know the question, and would wait for the body that the headers tell of.
            self._reusable = False
            self.body.complete = True
        if not self._head.done():
            self._head.set_result(Answer(status, self._headers, self.body))

    def on_message_complete(self) -> None:
        if self._head.done():
            self.body.complete = True
