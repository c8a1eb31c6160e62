"""gunicorn's worker: uvicorn, with a drain that ends every stream properly."""

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, cast

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from ..http.bypass import refuse_wrappers
from ..http.cors import Cors
from ..settings import load_settings
from .acceptor import MOST_A_TURN, Acceptor
from .http_protocol import GuardedHttp

NOTIFY_SECONDS = 1.0


class DrainingServer(Server):
    """Accepts connections itself, tells the application that it is to stop, and gunicorn that the worker is
    alive while it drains.

    uvicorn does none of this: newcomers would wait for running streams, those would be cut without a terminal
    event, and gunicorn would take a worker that drains for one that hangs.
    """

    def __init__(self, worker: "GatewayWorker") -> None:
        super().__init__(worker.config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        refuse_wrappers(self.config.loaded_app, Cors)
        await super().startup(sockets=[])  # it has nothing to listen to
        most = max(1, MOST_A_TURN // load_settings().workers)
        accepting = [Acceptor(listener, self._protocol, most) for listener in sockets or ()]
        self.servers = cast(list[asyncio.Server], accepting)

    def _protocol(self) -> GuardedHttp:
        return GuardedHttp(self.config, self.server_state, self.lifespan.state)

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
        "http": GuardedHttp,
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "server_header": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = int(load_settings().grace)

    def init_signals(self) -> None:
        super().init_signals()
        # uvicorn ends in order on these and raises them again. By default that ends the process at once, with
        # its last log lines unwritten.
        for terminating in (signal.SIGINT, signal.SIGTERM):
            signal.signal(terminating, lambda *_: sys.exit(0))

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self)
        self._install_sigquit_handler()
        # The sockets within gunicorn's: its own complain when uvicorn has closed them.
        await server.serve(sockets=[listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
