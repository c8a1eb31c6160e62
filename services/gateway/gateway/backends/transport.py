"""HTTP/1.1 requests with connection reuse; bodies are handed over as they are read.

The transports of httpx and aiohttp cost several task switches and layers of generators per token. Here a read
of the socket calls the parser (httptools), which calls the consumer of the body.
"""

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterable

import httpx

from .http1 import Answer, Connection, Origin

# After 30 s of silence a host is asked every 5 s whether it is there, and is lost after six times.
PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class OutOfDescriptors(httpx.ConnectError):
    """The process or the system has run out of file descriptors."""


def origin_of(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class Transport:
    """Connection pool without a limit.

    Raises httpx.ConnectError, OutOfDescriptors, ConnectTimeout, ReadError and RemoteProtocolError.
    """

    def __init__(self) -> None:
        self.address: str | None = None
        self._idle: dict[Origin, deque[Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    def pin(self, address: str) -> None:
        """From now on use this one of the addresses of the origin's host, of kept connections too."""
        self.address = address
        for kept in self._idle.values():
            for connection in [one for one in kept if one.peer != address]:
                kept.remove(connection)
                connection.abort()

    async def ask(self, origin: Origin, head: bytes, body: bytes, connect_timeout: float | None) -> Answer:
        """Send a request that may be repeated.

        It is sent again if a reused connection is lost before the first byte of the response: the server may
        close an idle connection at the moment of its reuse.

        `head` and `body` are sent as they are: the head with its empty line, the body already encoded.
        """
        if kept := self._kept(origin):
            try:
                return await self._on(kept, head, body)
            except httpx.ReadError:
                if kept.response_began:
                    raise
        return await self.ask_once(origin, head, body, connect_timeout)

    async def ask_once(
        self, origin: Origin, head: bytes, body: bytes | AsyncIterable[bytes], connect_timeout: float | None
    ) -> Answer:
        """The same on a new connection, for requests that must not be repeated."""
        return await self._on(await self._connect(origin, connect_timeout), head, body)

    async def aclose(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    @property
    def idle(self) -> int:
        """Number of idle connections."""
        return sum(len(kept) for kept in self._idle.values())

    async def _on(self, connection: Connection, head: bytes, body: bytes | AsyncIterable[bytes]) -> Answer:
        try:
            return await connection.ask(head, body)
        except BaseException:
            connection.abort()
            raise

    def _kept(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        # The most recently used connection is the least likely to be stale.
        connection = kept.pop() if kept else None
        if connection:
            connection.leave_idle()
        return connection

    async def _connect(self, origin: Origin, limit: float | None) -> Connection:
        scheme, host, port = origin
        tls = self._trusted() if scheme == "https" else None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                _, connection = await loop.create_connection(
                    lambda: Connection(origin, self._keep, self._forget),
                    self.address or host,
                    port,
                    ssl=tls,
                    server_hostname=host if tls else None,
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection was accepted in time") from None
        except OSError as error:
            kind = OutOfDescriptors if error.errno in OUT_OF_DESCRIPTORS else httpx.ConnectError
            raise kind(str(error)) from error
        _notice_vanished_hosts(connection.transport)
        return connection

    def _trusted(self) -> ssl.SSLContext:
        # Created on demand: the system's CA certificates take megabytes.
        self._tls = self._tls or ssl.create_default_context()
        return self._tls

    def _keep(self, connection: Connection) -> None:
        if self.address and connection.peer != self.address:
            connection.abort()
            return
        self._idle.setdefault(connection.origin, deque()).append(connection)

    def _forget(self, connection: Connection) -> None:
        kept = self._idle.get(connection.origin)
        if kept and connection in kept:
            kept.remove(connection)


def _notice_vanished_hosts(transport: asyncio.Transport) -> None:
    """A model server may be silent for minutes: without probes, one whose host is gone is waited for."""
    connected = transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in PROBES.items():
        if number := getattr(socket, option, None):  # not on every system
            connected.setsockopt(socket.IPPROTO_TCP, number, value)
