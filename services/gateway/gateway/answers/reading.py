"""Sends a kept answer to one of its readers."""

import asyncio
from collections.abc import Awaitable

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..dialects.refusal import Headers
from ..streaming.delivery import Connection
from ..streaming.response import CONNECTION
from ..telemetry.metrics import STALLED_READERS
from .kept import Kept

# What is read from the log at once: other readers and running answers have their turn in between.
PIECE_BYTES = 64 * 1024


class Reading(Response):
    """A response with the events after `position`: those that are there, then each as it comes.

    `beginning` is sent before them. A reader that is slow reads from the log; one that reads nothing for
    `stall_seconds` is dropped, as is one that is too far behind when the answer is not kept any longer.
    `is_complete` is whether it has been sent all of the answer. Raises as `Kept.attach`.
    """

    def __init__(self, kept: Kept, stall_seconds: float, position: int = 0, beginning: bytes = b"") -> None:
        super().__init__()
        self.position = position
        self.is_complete = False
        self._kept = kept
        self._stall_seconds = stall_seconds
        self._beginning = beginning
        self._aside = b""
        self._connection: Connection | None = None
        self._drained: Awaitable[None] | None = None
        self._is_live = self._is_gone = False
        self._changed = asyncio.Event()
        kept.attach(self)

    def head(self) -> Headers:
        return self._kept.headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connection = scope.get("extensions", {}).get(CONNECTION)
        self._kept.opened.add_done_callback(lambda _: self.wake())
        watch = asyncio.create_task(self._watch(receive))
        try:
            await self._begin(send)
            while not self._is_gone and not self.is_complete:
                await self._step(send)
        except TimeoutError:
            STALLED_READERS.inc()
            if self._connection:
                self._connection.abort()
        finally:
            watch.cancel()
            self._kept.detach(self)

    # What the answer calls

    def pass_on(self, frames: bytes) -> None:
        if not self._connection:
            self.wake()  # to read it from the log
            return
        self.position += len(frames)
        self._drained = self._connection.write(frames)
        if self._drained:
            self.wake()

    def tell(self, aside: bytes) -> None:
        if self._is_live and self._connection:
            self._drained = self._connection.write(aside)
        else:
            self._aside = aside
        if self._drained or self._aside:
            self.wake()

    def wake(self) -> None:
        if self._is_live:
            self._is_live = False
            self._kept.fall_behind(self)
        self._changed.set()

    # What is sent

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        self.wake()

    async def _begin(self, send: Send) -> None:
        kept = self._kept
        while not kept.opened.done() and not self._is_gone:
            self._changed.clear()
            await self._changed.wait()
        if self._is_gone:
            return
        if refusal := kept.opened.result():
            for message in refusal.messages():
                await self._send(send, message)
            self.is_complete = True
            return
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": self.head()})
        self._aside = b""  # at most what `status` says too
        if beginning := self._beginning + kept.status + self._next():
            await self._send(send, _part(beginning))

    async def _step(self, send: Send) -> None:
        """Send what there is, or wait until there is something."""
        if self._drained:
            drained, self._drained = self._drained, None
            async with asyncio.timeout(self._stall_seconds):
                await drained
        elif piece := self._next():
            await self._send(send, _part(piece))
        elif self._kept.ended:
            await self._send(send, {"type": "http.response.body", "body": b""})
            self.is_complete = True
        elif self._aside:
            aside, self._aside = self._aside, b""
            await self._send(send, _part(aside))
        else:
            self._changed.clear()
            self._is_live = True
            self._kept.go_live(self)
            await self._changed.wait()

    def _next(self) -> bytes:
        """Of what is in the log. Raises TimeoutError if this reader is too late for it."""
        log = self._kept.log
        if self.position < log.start:
            raise TimeoutError
        piece = log.read(self.position, PIECE_BYTES)
        self.position += len(piece)
        self._kept.read()
        return piece

    async def _send(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._stall_seconds):
            await send(message)


class FirstReading(Reading):
    """Of whoever has asked for the answer: with its address, and all headers of an answer."""

    def __init__(self, kept: Kept, stall_seconds: float, added: Headers) -> None:
        super().__init__(kept, stall_seconds)
        self._added = added

    def head(self) -> Headers:
        return [*super().head(), *self._kept.added, *self._added]


class Accepted(Response):
    """The address of an answer that is read later, once it is certain that there will be one."""

    def __init__(self, kept: Kept, status: int, added: Headers, body: bytes) -> None:
        super().__init__()
        self._kept = kept
        self._status = status
        self._added = added
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.wait({self._kept.opened})
        if refusal := self._kept.opened.result():
            messages = refusal.messages()
        else:
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(self._body)),
                *self._kept.added,
                *self._added,
            ]
            start = {"type": "http.response.start", "status": self._status, "headers": headers}
            messages = start, {"type": "http.response.body", "body": self._body}
        for message in messages:
            await send(message)


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
