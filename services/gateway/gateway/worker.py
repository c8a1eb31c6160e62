"""gunicorn's worker: uvicorn, with a drain that ends every stream properly."""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, cast

from gunicorn.arbiter import Arbiter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from .routes.forward import CONNECTION
from .settings import load_settings

NOTIFY_SECONDS = 1.0


class DirectHttp(HttpToolsProtocol):
    """Lets the application use its client's connection, as `relay.Connection` has it."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle and self.cycle.scope is self.scope:
            self.scope["extensions"] = cast(Any, {CONNECTION: Exchange(self.cycle)})


class Exchange:
    """One request's part of a connection. `send` costs a coroutine and some checks for each token."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def write(self, body: bytes) -> Awaitable[None] | None:
        cycle = self._cycle
        if cycle.disconnected:
            return None
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(body), body) if cycle.chunked_encoding else body)
        return cycle.flow.drain() if cycle.flow.write_paused else None

    def abort(self) -> None:
        # Without lingering, the kernel forgets what the client has not taken instead of keeping it.
        transport = self._cycle.transport
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


class DrainingServer(Server):
    """Tells the application that it is to stop, and gunicorn that the worker is alive while it drains.

    uvicorn does neither: streams would be cut without a terminal event, and gunicorn would take a worker
    that drains for one that hangs.
    """

    def __init__(self, worker: "GatewayWorker") -> None:
        super().__init__(worker.config)
        self._worker = worker

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["gateway"].drain()
        notify = asyncio.create_task(self._notify())
        try:
            # Without the sockets: they are gunicorn's, which closes them itself.
            await super().shutdown()
        finally:
            notify.cancel()
            with suppress(asyncio.CancelledError):
                await notify

    async def _notify(self) -> None:
        while True:
            self._worker.notify()
            await asyncio.sleep(NOTIFY_SECONDS)


class GatewayWorker(UvicornWorker):
    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - the base class's way of configuring
        "loop": "uvloop",
        "http": DirectHttp,
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "server_header": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = int(load_settings().grace)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self)
        self._install_sigquit_handler()
        # The sockets within gunicorn's: its own complain when uvicorn has closed them.
        await server.serve(sockets=[listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
