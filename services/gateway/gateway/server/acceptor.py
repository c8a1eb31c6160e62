"""Takes connections from a listening socket: many a turn of the loop, and run_in_steps when there is no room.

uvloop's own server takes one a turn. A turn is long while hundreds of streams run, so of a burst of newcomers
some waited for twelve seconds, connected but not heard.
"""

import asyncio
import errno
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from ..dialects.chat_sse import error_body
from ..errors import Overloaded
from ..telemetry.metrics import REFUSED_CONNECTIONS

# Of one socket, shared by all workers: one that takes everything leaves nothing for the others.
MOST_A_TURN = 64

PAUSE_SECONDS = 0.1

# What accept fails with when no more may be open, in this process or the system: accept(2).
NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Owns one listening socket. As asyncio's servers: `close`, then `wait_closed`."""

    def __init__(
        self, listener: socket.socket, new_protocol: Callable[[], asyncio.Protocol], most: int
    ) -> None:
        self._listener = listener
        self._new_protocol = new_protocol
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        # Given up for a moment when there is no other, so that somebody can be told.
        self._spare: int | None = _any_descriptor()
        self._resuming: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        # As long as somebody has it open, the system goes on connecting newcomers.
        self._listener.close()
        if self._resuming:
            self._resuming.cancel()
        if self._spare is not None:
            os.close(self._spare)

    async def wait_closed(self) -> None:
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _accept(self) -> None:
        for _ in range(self._most):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    continue  # it is gone before it was taken
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
        except OSError:  # it is gone already
            connection.close()

    def _refuse(self) -> bool:
        """Whether somebody could be told that there is no room, or nobody is there."""
        self._spare = _any_descriptor() if self._spare is None else self._spare
        if self._spare is None:
            return False
        os.close(self._spare)
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            return error.errno not in NO_ROOM
        else:
            REFUSED_CONNECTIONS.inc()
            with connection, suppress(OSError):
                connection.setblocking(False)
                connection.send(REFUSAL)
                # What has come and is not read would have the system take the answer back.
                connection.recv(65536)
            return True
        finally:
            self._spare = _any_descriptor()

    def _pause(self) -> None:
        """Trying again at once would take all of the loop's time."""
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
    error = Overloaded("the gateway can open no more connections; try again in a few seconds")
    body = json.dumps(error_body(error, "")).encode()
    return (
        f"HTTP/1.1 {error.status} Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Retry-After: {error.retry_after}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


REFUSAL = _refusal()
