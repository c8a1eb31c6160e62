"""Requests over HTTP/1.1 with kept connections, and bodies whose bytes are handed over as they are read.

httpx's own transport and aiohttp's cost several task switches and layers of generators a token. Here a read
of the socket calls the parser (httptools), and then whoever takes the body.
"""

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import AsyncIterable

import httpx

from .http1 import Answer, Connection, Origin

OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class OutOfDescriptors(httpx.ConnectError):
    """This process, or the system, may have no more sockets open."""


def origin_of(url: httpx.URL) -> Origin:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class Transport:
    """Connects without a limit of its own to how many there are.

    Raises httpx.ConnectError, OutOfDescriptors, ConnectTimeout, ReadError and RemoteProtocolError.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, deque[Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def ask(self, origin: Origin, head: bytes, body: bytes, connect_timeout: float | None) -> Answer:
        """For what may be asked twice: once more where a kept connection breaks before the answer's first
        byte. The server may close one at the moment at which it is used again.

        `head` and `body` go out as they are: the head with its empty line, the body with its chunks' sizes.
        """
        if kept := self._kept(origin):
            try:
                return await self._on(kept, head, body)
            except httpx.ReadError:
                if kept.heard:
                    raise
        return await self.ask_once(origin, head, body, connect_timeout)

    async def ask_once(
        self, origin: Origin, head: bytes, body: bytes | AsyncIterable[bytes], connect_timeout: float | None
    ) -> Answer:
        """The same on a connection of its own, for what must not be asked twice."""
        return await self._on(await self._connect(origin, connect_timeout), head, body)

    async def aclose(self) -> None:
        for kept in self._idle.values():
            for connection in kept:
                connection.abort()
        self._idle.clear()

    @property
    def idle(self) -> int:
        """Connections that are kept for requests to come."""
        return sum(len(kept) for kept in self._idle.values())

    async def _on(self, connection: Connection, head: bytes, body: bytes | AsyncIterable[bytes]) -> Answer:
        try:
            return await connection.ask(head, body)
        except BaseException:
            connection.abort()
            raise

    def _kept(self, origin: Origin) -> Connection | None:
        kept = self._idle.get(origin)
        # The one that was used last is the least likely to be stale.
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
                    lambda: Connection(origin, self._keep, self._forget), host, port, ssl=tls
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection was accepted in time") from None
        except OSError as error:
            kind = OutOfDescriptors if error.errno in OUT_OF_DESCRIPTORS else httpx.ConnectError
            raise kind(str(error)) from error
        return connection

    def _trusted(self) -> ssl.SSLContext:
        # Only when it is needed: the authorities that a system trusts take megabytes.
        self._tls = self._tls or ssl.create_default_context()
        return self._tls

    def _keep(self, connection: Connection) -> None:
        self._idle.setdefault(connection.origin, deque()).append(connection)

    def _forget(self, connection: Connection) -> None:
        kept = self._idle.get(connection.origin)
        if kept and connection in kept:
            kept.remove(connection)
