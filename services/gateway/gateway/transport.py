"""An HTTP/1.1 transport for httpx: kept connections, and bodies whose bytes are handed over as they are read.

httpx's own transport and aiohttp's cost several task switches and layers of generators a token. Here a read
of the socket calls the parser (httptools), and then whoever takes the body: RFC 9112, without trailers and
upgrades.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import httptools
import httpx

# Idle connections are given up before servers usually close them, so that none is stale.
IDLE_SECONDS = 30

# A body that nobody takes is read up to here, then the connection is no longer read from.
MAX_AHEAD = 64 * 1024

# What takes a body's bytes. It may return something to wait for before it gets more.
Sink = Callable[[bytes], Awaitable[None] | None]


class Transport(httpx.AsyncBaseTransport):
    """Connects without a limit of its own to how many there are.

    A response's `extensions["body"]` is its `Body`. Raises httpx.ConnectError, ConnectTimeout, ReadError,
    RemoteProtocolError and WriteError.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._tls = ssl.create_default_context()

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
        tls = self._tls if url.scheme == "https" else None
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
        self.body = Body(self)
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


class Body(httpx.AsyncByteStream):
    """A response's body, taken once: poured into a sink, or iterated as httpx does."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ahead: list[bytes] = []
        self._size = 0
        self._sink: Sink | None = None
        self._awaited: Awaitable[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._paused = False
        self._stopped = False
        self.complete = False

    async def pour(self, sink: Sink) -> None:
        """Calls `sink` with the bytes of each read at once, within the read, until the body ends or `stop`.

        While what the sink has returned is waited for, bytes are held; beyond a limit the connection is not
        read from. Raises httpx.ReadError, RemoteProtocolError, and whatever the sink raises.
        """
        self._sink, self._stopped = sink, False
        try:
            while True:
                self._hand_over()
                if self._awaited:
                    awaited, self._awaited = self._awaited, None
                    await awaited
                elif self._stopped or not await self._more():
                    return
        finally:
            self._sink = None
            if isinstance(self._awaited, Coroutine):  # it will not be waited for any more
                self._awaited.close()

    def stop(self) -> None:
        """Has `pour` return; what has not been taken can be poured again."""
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._ahead or await self._more():
            if self._ahead:
                yield self._rest()

    async def aclose(self) -> None:
        self._connection.release()

    async def _more(self) -> bool:
        """Waits for whatever comes next; False at the end. Raises what the body failed with."""
        if self._failure:
            raise self._failure
        if self.complete:
            return False
        if self._paused:
            self._paused = False
            self._connection.transport.resume_reading()
        self._news = asyncio.get_running_loop().create_future()
        await self._news
        return True

    def _rest(self) -> bytes:
        data = self._ahead[0] if len(self._ahead) == 1 else b"".join(self._ahead)
        self._ahead.clear()
        self._size = 0
        return data

    # For the connection

    def take(self, data: bytes) -> None:
        self._ahead.append(data)
        self._size += len(data)

    def end_of_read(self) -> None:
        """Everything that one read of the socket brought has been taken."""
        self._hand_over()
        if self._size > MAX_AHEAD and not self._paused:
            self._paused = True
            self._connection.transport.pause_reading()
        if self._ahead or self._awaited or self._stopped or self._failure or self.complete:
            self._wake()

    def fail(self, error: Exception) -> None:
        self._failure = error
        self._wake()

    def _hand_over(self) -> None:
        if self._sink and self._ahead and not self._awaited and not self._stopped and not self._failure:
            try:
                self._awaited = self._sink(self._rest())
            except Exception as error:
                self._failure = error

    def _wake(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)
