"""The gunicorn worker: uvicorn with a graceful drain of all streams."""

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
from .acceptor import MAX_ACCEPTS_PER_TURN, Acceptor
from .http_protocol import GuardedHttp

NOTIFY_SECONDS = 1.0


class DrainingServer(Server):
    """Accepts connections itself, starts the application's drain, and sends gunicorn heartbeats meanwhile.

    uvicorn does none of this: new connections would wait for running streams, streams would be cut without a
    terminal event, and gunicorn would kill a draining worker as hung.
    """

    def __init__(self, worker: "GatewayWorker") -> None:
        super().__init__(worker.config)
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        refuse_wrappers(self.config.loaded_app, Cors)
        await super().startup(sockets=[])  # uvicorn itself listens on nothing
        max_accepts = max(1, MAX_ACCEPTS_PER_TURN // load_settings().workers)
        acceptors = [Acceptor(listener, self._protocol, max_accepts) for listener in sockets or ()]
        self.servers = cast(list[asyncio.Server], acceptors)

    def _protocol(self) -> GuardedHttp:
        return GuardedHttp(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state["gateway"].drain()
        notify = asyncio.create_task(self._notify())
        try:
            # Without the sockets: gunicorn owns and closes them.
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
    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - the base class requires it
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
        # After its shutdown uvicorn raises these signals again, which by default ends the process at once,
        # with its last log lines unwritten.
        for terminating in (signal.SIGINT, signal.SIGTERM):
            signal.signal(terminating, lambda *_: sys.exit(0))

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self)
        self._install_sigquit_handler()
        # The plain sockets: gunicorn's wrappers fail once uvicorn has closed them.
        await server.serve(sockets=[listener.sock for listener in self.sockets])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
