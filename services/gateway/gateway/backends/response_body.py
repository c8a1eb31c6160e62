"""A response's body, handed from the read of a socket to its consumer."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

import httpx

# At most this much of an unconsumed body is buffered; then reading from the connection is paused.
MAX_AHEAD = 64 * 1024

# Consumer of a body's bytes. It may return an awaitable, to be awaited before it gets more.
Sink = Callable[[bytes], Awaitable[None] | None]


def _released() -> None:
    pass


class Body:
    """A response's body, streamed into a sink."""

    def __init__(self, transport: asyncio.ReadTransport, release: Callable[[], None]) -> None:
        self._transport = transport
        self._release = release
        self._read: list[bytes] = []  # chunks from the current read of the socket
        self._held = bytearray()  # bytes not consumed yet
        # The parser appends each chunk directly; then `end_of_read` is called.
        self.append = self._read.append
        self._sink: Sink | None = None
        self._awaited: Awaitable[None] | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._paused = False
        self._stopped = False
        self.complete = False

    async def stream_into(self, sink: Sink) -> None:
        """Call `sink` with the bytes of each read, during the read itself, until the body ends or `stop`.

        While the sink's awaitable is pending, bytes are buffered; beyond a limit reading is paused. Raises
        httpx.ReadError, RemoteProtocolError, and whatever the sink raises.
        """
        self._sink, self._stopped = sink, False
        try:
            while True:
                if self._sink is not None and self._held and not self._awaited and not self._stopped:
                    self._deliver(self._take_held())
                if self._awaited:
                    try:
                        await self._awaited
                    finally:
                        self._awaited = None
                elif self._stopped or not await self._wait_for_data():
                    return
        finally:
            self._sink = None
            if isinstance(self._awaited, Coroutine):  # never awaited: close it to avoid a warning
                self._awaited.close()

    def stop(self) -> None:
        """Make `stream_into` return; it can be called again for the rest."""
        self._stopped = True

    def discard(self) -> None:
        """Make `stream_into` return, and pause reading until `close`."""
        self._stopped = True
        if not self._paused and not self.complete:
            self._paused = True
            self._transport.pause_reading()

    def close(self) -> None:
        release, self._release = self._release, _released
        release()  # once, and without a reference cycle with the connection

    async def _wait_for_data(self) -> bool:
        """Wait for more bytes; False at the end. Raises the body's error."""
        if self._failure:
            # The exception references this frame: drop our references, or a cycle remains.
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
        self._wakeup = asyncio.get_running_loop().create_future()
        await self._wakeup
        return True

    def _take_held(self) -> bytes:
        data = bytes(self._held)
        self._held.clear()
        return data

    def _deliver(self, data: bytes) -> None:
        assert self._sink
        try:
            self._awaited = self._sink(data)
        except Exception as error:  # raised by `stream_into`, not by the read of the socket
            self._sink, self._failure = None, error

    # For the connection

    def end_of_read(self) -> bool:
        """One read of the socket is parsed; returns whether it brought any of the body."""
        has_data = bool(self._read)
        if has_data:
            data = self._read[0] if len(self._read) == 1 else b"".join(self._read)
            self._read.clear()
            if self._sink and not (self._held or self._awaited or self._stopped):
                self._deliver(data)
            else:
                self._hold(data)
        if self._held or self._awaited or self._stopped or self._failure or self.complete:
            self._wake()
        return has_data

    def fail(self, error: Exception) -> None:
        """End the body with an error, after the buffered bytes; ignored if it is complete."""
        if not self.complete:
            self._failure = error
            self._wake()

    def _hold(self, data: bytes) -> None:
        self._held += data
        # Not at its end: the next response on this connection would never be read.
        if len(self._held) > MAX_AHEAD and not self._paused and not self.complete:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._wakeup and not self._wakeup.done():
            self._wakeup.set_result(None)
