"""Accepts connections, many per iteration of the event loop, or refuses them with 503.

uvloop's own server accepts one per iteration. With hundreds of running streams an iteration is long, so in a
burst of new connections some waited twelve seconds before their request was read.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from ..dialects.api import CHAT
from ..errors import Overloaded
from ..telemetry.metrics import REFUSED_CONNECTIONS

# The socket is shared by all workers: one that accepts everything leaves nothing for the others.
MAX_ACCEPTS_PER_TURN = 64

PAUSE_SECONDS = 0.1

# errno values of accept(2) when the process or the system is out of resources.
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Owns one listening socket. As asyncio's servers: `close`, then `wait_closed`."""

    def __init__(
        self, listener: socket.socket, new_protocol: Callable[[], asyncio.Protocol], max_accepts: int
    ) -> None:
        self._listener = listener
        self._new_protocol = new_protocol
        self._max_accepts = max_accepts
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        # Reserve descriptor, closed briefly so that a connection can be accepted and refused with 503.
        self._spare: int | None = _any_descriptor()
        self._resuming: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        # While the socket is open, the kernel completes new connections.
        self._listener.close()
        if self._resuming:
            self._resuming.cancel()
        if self._spare is not None:
            os.close(self._spare)

    async def wait_closed(self) -> None:
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _accept(self) -> None:
        for _ in range(self._max_accepts):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    continue  # the client disconnected before it was accepted
                if not self._refuse():
                    self._pause()
                    return
            else:
                task = self._loop.create_task(self._connect(connection))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._new_protocol, connection)
        except OSError:  # the client has disconnected
            connection.close()

    def _refuse(self) -> bool:
        """Refuse one connection with 503. False if not even that is possible."""
        self._spare = _any_descriptor() if self._spare is None else self._spare
        if self._spare is None:
            return False
        os.close(self._spare)
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            return error.errno not in OUT_OF_RESOURCES
        else:
            REFUSED_CONNECTIONS.inc()
            with connection, suppress(OSError):
                connection.setblocking(False)
                connection.send(REFUSAL)
                # Unread data would make the kernel reset the connection and discard the answer.
                connection.recv(65536)
            return True
        finally:
            self._spare = _any_descriptor()

    def _pause(self) -> None:
        """Retry later: retrying immediately would keep the event loop busy."""
        self._loop.remove_reader(self._listener.fileno())
        self._resuming = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)


def _any_descriptor() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _refusal() -> bytes:
    """Built once: while resources are exhausted, nothing must be needed for it."""
    error = Overloaded("the gateway can open no more connections; try again in a few seconds")
    return replace(CHAT.refusal(error, request_id=""), ids=[]).raw()


REFUSAL = _refusal()
