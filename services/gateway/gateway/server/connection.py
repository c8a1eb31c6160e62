"""One request's part of a client's connection, as the application may use it."""

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Exchange:
    """One request's part of a connection. `send` costs a coroutine and some checks for each token."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self.cycle = cycle
        self.on_lost: Callable[[], None] | None = None

    def write(self, body: bytes) -> Awaitable[None] | None:
        cycle = self.cycle
        if cycle.disconnected:
            return None
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if cycle.chunked_encoding else body)
        return cycle.flow.drain() if cycle.flow.write_paused else None

    def lose(self) -> None:
        """The client is gone: the application hears of it at once, and again when it receives."""
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        if self.on_lost:
            self.on_lost()

    def end(self) -> None:
        """Its cycle knows it no longer: a circle would wait for the collector, which holds up everything."""
        self.cycle.scope.pop("extensions", None)

    def abort(self) -> None:
        # Without lingering, the kernel forgets what the client has not taken instead of keeping it.
        transport = self.cycle.transport
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def without_chunks(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """For clients of HTTP/1.0, which know no chunks: an answer of a length that is not said ends with the
    connection, which uvicorn closes after each of theirs."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_plain(message: Any) -> None:
            if message["type"] == "http.response.start":
                cycle.chunked_encoding = False
            else:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return answer
