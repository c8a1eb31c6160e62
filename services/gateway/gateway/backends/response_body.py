"""A response's body, on its way from the read of a socket to whoever takes it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import httpx

# A body that nobody takes is read up to here, then the connection is no longer read from.
MAX_AHEAD = 64 * 1024

# What takes a body's bytes. It may return something to wait for before it gets more.
Sink = Callable[[bytes], Awaitable[None] | None]


def _released() -> None:
    pass


class Body:
    """A response's body, poured into a sink."""

    def __init__(self, transport: asyncio.ReadTransport, release: Callable[[], None]) -> None:
        self._transport = transport
        self._release = release
        self._read: list[bytes] = []  # what the read of the socket that is under way has brought
        self._held = bytearray()  # what nobody has taken yet
        # The parser gives each piece straight to the list; then `end_of_read` is called.
        self.take = self._read.append
        self._sink: Sink | None = None
        self._awaited: Awaitable[None] | None = None
        self._news: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._paused = False
        self._stopped = False
        self.complete = False

    async def pour(self, sink: Sink) -> None:
        """Calls `sink` with the bytes of each read at once, within the read, until the body ends or `stop`.

        While what the sink has returned is waited for, bytes are held; beyond a limit the connection is not
        read from. Raises httpx.ReadError, RemoteProtocolError, and whatever the sink raises.
        """
        self._sink, self._stopped = sink, False
        try:
            while True:
                if self._sink is not None and self._held and not self._awaited and not self._stopped:
                    self._give(self._rest())
                if self._awaited:
                    try:
                        await self._awaited
                    finally:
                        self._awaited = None
                elif self._stopped or not await self._more():
                    return
        finally:
            self._sink = None
            if isinstance(self._awaited, Coroutine):  # it will not be waited for any more
                self._awaited.close()

    def stop(self) -> None:
        """Has `pour` return; what has not been taken can be poured again."""
        self._stopped = True

    def leave(self) -> None:
        """Nobody wants the rest: has `pour` return, and nothing more is read until `close`."""
        self._stopped = True
        if not self._paused and not self.complete:
            self._paused = True
            self._transport.pause_reading()

    def close(self) -> None:
        release, self._release = self._release, _released
        release()  # and know the connection no longer, which knows this body

    async def _more(self) -> bool:
        """Waits for whatever comes next; False at the end. Raises what the body failed with."""
        if self._failure:
            # What is raised knows the frames that it passes: neither they nor this body may know it then.
            failure, self._failure = self._failure, httpx.ReadError("the body has failed before")
            try:
                raise failure
            finally:
                del failure
        if self.complete:
            return False
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._news = asyncio.get_running_loop().create_future()
        await self._news
        return True

    def _rest(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data

    def _give(self, data: bytes) -> None:
        assert self._sink
        try:
            self._awaited = self._sink(data)
        except Exception as error:  # it is `pour` that is to raise it, not the read of the socket
            self._sink, self._failure = None, error

    # For the connection

    def end_of_read(self) -> bool:
        """All that one read of the socket brought has been taken; returns whether that was anything."""
        came = bool(self._read)
        if came:
            data = self._read[0] if len(self._read) == 1 else b"".join(self._read)
            self._read.clear()
            if self._sink and not (self._held or self._awaited or self._stopped):
                self._give(data)
            else:
                self._hold(data)
        if self._held or self._awaited or self._stopped or self._failure or self.complete:
            self._wake()
        return came

    def fail(self, error: Exception) -> None:
        """What has been taken is still handed over; if that was all, it is no failure."""
        if not self.complete:
            self._failure = error
            self._wake()

    def _hold(self, data: bytes) -> None:
        self._held += data
        # Not at its end: the next answer on this connection would never be read.
        if len(self._held) > MAX_AHEAD and not self._paused and not self.complete:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)
