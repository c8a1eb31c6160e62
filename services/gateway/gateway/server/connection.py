"""Direct access of the application to its client's connection, for one request."""

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


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
        # With SO_LINGER 0 the kernel discards unsent data instead of keeping it.
        transport = self.cycle.transport
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
