"""An HTTP/1.1 transport for httpx: kept connections, and bodies whose bytes are handed over as they are read.

httpx's own transport and aiohttp's cost several task switches and layers of generators a token. Here a read
of the socket calls the parser (httptools), and then whoever takes the body: RFC 9112, without trailers and
upgrades.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, cast

import httptools
import httpx

from .body import Body

# Idle connections are given up before servers usually close them, so that none is stale.
IDLE_SECONDS = 30

# Scheme, host and port.
Origin = tuple[str, str, int]


def origin_of(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


async def in_chunks(body: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """A body of unknown length on the wire: RFC 9112, section 7.1."""
    async for piece in body:
        if piece:
            yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


@dataclass(frozen=True)
class Answer:
    """Status and headers, once they have come; `body` is to be left with `aclose`."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: Body

    @property
    def media_type(self) -> str:
        found = (value for name, value in self.headers if name.lower() == b"content-type")
        return next(found, b"").decode("latin-1")


class Transport(httpx.AsyncBaseTransport):
    """Connects without a limit of its own to how many there are.

    Raises httpx.ConnectError, ConnectTimeout, ReadError and RemoteProtocolError.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%b: %b\r\n" % header for header in request.headers.raw]
        if isinstance(request.stream, httpx.ByteStream):
            body: bytes | AsyncIterable[bytes] = b"".join(request.stream)
        else:
            body = cast(AsyncIterable[bytes], request.stream)
            body = in_chunks(body) if "transfer-encoding" in request.headers else body
        limit = request.extensions.get("timeout", {}).get("connect")
        answer = await self.ask(origin_of(request.url), b"".join([*lines, b"\r\n"]), body, limit)
        return httpx.Response(answer.status, headers=answer.headers, stream=answer.body)

    async def ask(
        self, origin: Origin, head: bytes, body: bytes | AsyncIterable[bytes], connect_timeout: float | None
    ) -> Answer:
        """The same without what httpx does for a request, which takes longer than asking.

        `head` and `body` go out as they are: the head with its empty line, the body with its chunks' sizes.
        """
        connection = self._kept(origin) or await self._connect(origin, connect_timeout)
        try:
            return await connection.ask(head, body)
        except BaseException:
            connection.abort()
            raise

    async def aclose(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    @property
    def idle(self) -> int:
        """Connections that are kept for requests to come."""
        return sum(len(kept) for kept in self._idle.values())

    def _kept(self, origin: Origin) -> "Connection | None":
        kept = self._idle.get(origin)
        # The one that was used last is the least likely to be stale.
        connection = kept.pop() if kept else None
        if connection:
            connection.leave_idle()
        return connection

    async def _connect(self, origin: Origin, limit: float | None) -> "Connection":
        scheme, host, port = origin
        tls = self._trusted() if scheme == "https" else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                _, connection = await loop.create_connection(
                    lambda: Connection(origin, self._keep, self._forget), host, port, ssl=tls
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection was accepted in time") from None
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    def _trusted(self) -> ssl.SSLContext:
        # Only when it is needed: the authorities that a system trusts take megabytes.
        self._tls = self._tls or ssl.create_default_context()
        return self._tls

    def _keep(self, connection: "Connection") -> None:
        self._idle.setdefault(connection.origin, deque()).append(connection)

    def _forget(self, connection: "Connection") -> None:
        kept = self._idle.get(connection.origin)
        if kept and connection in kept:
            kept.remove(connection)


class Connection(asyncio.Protocol):
    """One connection and the request that it is at, one after the other."""

    transport: asyncio.Transport

    def __init__(
        self,
        origin: Origin,
        keep: "Callable[[Connection], None]",
        forget: "Callable[[Connection], None]",
    ) -> None:
        self.origin = origin
        self._keep = keep
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._lost: Exception | None = None

    async def ask(self, head: bytes, body: bytes | AsyncIterable[bytes]) -> Answer:
        self._asks_for_head = head.startswith(b"HEAD ")
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: asyncio.Future[Answer] = self._loop.create_future()
        self._reusable = self._until_close = False
        self.body = Body(self.transport, self.release)
        self.on_body = self.body.take  # httptools' callback, without a call between
        self._parser = httptools.HttpResponseParser(self)
        if self._lost:
            raise httpx.ReadError(f"the connection was lost: {self._lost}")
        try:
            if isinstance(body, bytes):
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                await self._send(body)
            return await self._head
        finally:
            self._head.cancel()  # if it is not there, nobody will ask for it any more

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
        if not self.body.complete or self._lost or not self._reusable:
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
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.body.end_of_read()
            self._fail(httpx.RemoteProtocolError(str(error)))
            self.abort()
            return
        self.body.end_of_read()

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
        del self._parser  # which knows this connection: without a cycle nothing waits for the collector

    def _fail(self, error: Exception) -> None:
        if not self._head.done():
            self._head.set_exception(error)
        else:
            self.body.fail(error)

    # httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

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
