"""An HTTP/1.1 transport for httpx: kept connections, and bodies whose bytes are handed over as they are read.

httpx's own transport and aiohttp's cost several task switches and layers of generators a token. Here a read
of the socket calls the parser (httptools), and then whoever takes the body: RFC 9112, without trailers and
upgrades.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, Callable
from typing import Any, cast

import httptools
import httpx

from .body import Body

# Idle connections are given up before servers usually close them, so that none is stale.
IDLE_SECONDS = 30


class Transport(httpx.AsyncBaseTransport):
    """Connects without a limit of its own to how many there are.

    A response's `extensions["body"]` is its `Body`. Raises httpx.ConnectError, ConnectTimeout, ReadError
    and RemoteProtocolError.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._kept(_origin(request.url)) or await self._connect(request)
        try:
            status, headers = await connection.ask(request)
        except BaseException:
            connection.abort()
            raise
        body = connection.body
        return httpx.Response(status, headers=headers, stream=body, extensions={"body": body})

    async def aclose(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    @property
    def idle(self) -> int:
        """Connections that are kept for requests to come."""
        return sum(len(kept) for kept in self._idle.values())

    def _kept(self, origin: "Origin") -> "Connection | None":
        kept = self._idle.get(origin)
        # The one that was used last is the least likely to be stale.
        connection = kept.pop() if kept else None
        if connection:
            connection.leave_idle()
        return connection

    async def _connect(self, request: httpx.Request) -> "Connection":
        url = request.url
        tls = self._trusted() if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("connect")):
                _, connection = await loop.create_connection(
                    lambda: Connection(_origin(url), self._keep, self._forget), url.host, port, ssl=tls
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection was accepted in time", request=request) from None
        except OSError as error:
            raise httpx.ConnectError(str(error), request=request) from error
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


# Scheme, host and port.
Origin = tuple[str, str, int | None]


def _origin(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port


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

    async def ask(self, request: httpx.Request) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Sends the request and returns status and headers of the answer, whose body is in `body`."""
        self._request = request
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = self._loop.create_future()
        self._reusable = self._until_close = False
        self.body = Body(self.transport, self.release)
        self.on_body = self.body.take  # httptools' callback, without a call between
        self._parser = httptools.HttpResponseParser(self)
        if self._lost:
            raise httpx.ReadError(f"the connection was lost: {self._lost}", request=request)
        try:
            if isinstance(request.stream, httpx.ByteStream):
                self.transport.write(_head_of(request) + b"".join(request.stream))
            else:
                await self._send(request)
            return await self._head
        finally:
            self._head.cancel()  # if it is not there, nobody will ask for it any more

    async def _send(self, request: httpx.Request) -> None:
        """A body that comes piece by piece. An answer that comes meanwhile is a refusal and ends it."""
        sending = asyncio.ensure_future(self._send_pieces(request))
        either: set[asyncio.Future[Any]] = {sending, self._head}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            else:
                self._reusable = False  # what follows on this connection would be taken for the rest
        finally:
            sending.cancel()

    async def _send_pieces(self, request: httpx.Request) -> None:
        self.transport.write(_head_of(request))
        chunked = "transfer-encoding" in request.headers
        async for piece in cast(AsyncIterable[bytes], request.stream):
            if piece:
                self.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if self._writable:
                    await self._writable
        if chunked:
            self.transport.write(b"0\r\n\r\n")

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
            self._fail(httpx.RemoteProtocolError(str(error), request=self._request))
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
            self._fail(httpx.ReadError(f"the connection was lost: {self._lost}", request=self._request))

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
        bodiless = self._request.method == "HEAD" or status in (204, 304)
        self._until_close = not bodiless and not names & {b"content-length", b"transfer-encoding"}
        if bodiless:
            # The parser does not know the question, and would wait for the body that the headers tell of.
            self._reusable = False
            self.body.complete = True
        if not self._head.done():
            self._head.set_result((status, self._headers))

    def on_message_complete(self) -> None:
        if self._head.done():
            self.body.complete = True


def _head_of(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b\r\n" % header for header in request.headers.raw]
    return b"".join([*lines, b"\r\n"])
