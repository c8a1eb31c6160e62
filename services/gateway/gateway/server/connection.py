"""Direct access of the application to its client's connection, for one request."""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..telemetry.metrics import STALLED_READERS


class Exchange:
    """One request on a connection. Faster than `send`, which costs a coroutine and checks per token."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.cycle = cycle
        self.on_lost: Callable[[], None] | None = None

    def write(self, body: bytes) -> Awaitable[None] | None:
        cycle = self.cycle
        if cycle.disconnected:
            return None
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if cycle.chunked_encoding else body)
        return cycle.flow.drain() if cycle.flow.write_paused else None

    def disconnected(self) -> None:
        """The client is gone: notify the application, which also sees it when it calls `receive`."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.on_lost:
            self.on_lost()

    def end(self) -> None:
        """Break the reference cycle with uvicorn's cycle, which would wait for the garbage collector."""
        self.cycle.scope.pop("extensions", None)

    def abort(self) -> None:
        self.cycle.disconnected = True  # or uvicorn would log the incomplete answer as an error
        abort(self.cycle.transport)


class ReaderWatch:
    """Drops a connection whose client reads nothing of its complete answers for `seconds`.

    The server cannot close such a connection: closing waits until everything is sent. Answers in progress
    have their own limit, in `streaming.relay`.
    """

    def __init__(self, transport: asyncio.WriteTransport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._unread = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, may_write: Callable[[], bool]) -> None:
        """Begin anew after an answer. While `may_write` is true, unread bytes may be those of a later one."""
        self.stop()
        self._unread = self._transport.get_write_buffer_size()
        if self._unread:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._check, may_write)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def progress(self) -> None:
        """The client has read: what is unread at the next check counts as new."""
        self._unread = sys.maxsize

    def _check(self, may_write: Callable[[], bool]) -> None:
        if self._transport.get_write_buffer_size() >= self._unread and not may_write():
            STALLED_READERS.inc()
            abort(self._transport)
        else:
            self.start(may_write)


def abort(transport: asyncio.WriteTransport) -> None:
    """Drop a connection with its unsent data, which the kernel would otherwise keep (SO_LINGER 0)."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def without_chunks(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """Wrap the application for HTTP/1.0 clients, which do not support chunked encoding: an answer without
    Content-Length ends with the connection, which uvicorn closes after each of their requests."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_plain(message: Any) -> None:
            if message["type"] == "http.response.start":
                cycle.chunked_encoding = False
            else:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return answer
