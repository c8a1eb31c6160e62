"""One answer of upstream's, from the question to its terminal event, in the frames of its dialect."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from ..ask.waiting import Waiting
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import ClientGone, GatewayError
from ..telemetry.record import RequestRecord
from ..turnstile import Turnstiles
from .delivery import Delivery

# How long the end of upstream's body may take after its last line, for the connection to be used again.
TAIL_SECONDS = 1.0

# Of a fast upstream. What an ordinary answer's read brings is some hundred bytes.
LARGE_READ = 16 * 1024


class Answer(Protocol):
    """What upstream answers, once it has begun."""

    status: int
    media_type: str

    async def pour(self, sink: Callable[[bytes], Awaitable[None] | None]) -> None:
        """Calls `sink` with what each read of the socket brings, and waits for what it returns."""

    def stop(self) -> None:
        """Has `pour` return."""

    def leave(self) -> None:
        """Has `pour` return, and nothing more is read."""


class Generation:
    """Pulls one answer and hands its frames to the delivery that is attached.

    `source` gives the answer and hears from this what it waits for; it is entered in the task that runs
    `run`, so whatever it waits for is given up when that is cancelled. `last_in` is when upstream was last
    heard, or asked; None before it is asked. `status` is what is waited for, until the answer begins. `news`
    wakes whoever watches over it.
    """

    def __init__(
        self,
        dialect: Stream | Whole,
        record: RequestRecord,
        source: Callable[[Waiting], AbstractAsyncContextManager[Answer]],
        turnstiles: Turnstiles,
    ) -> None:
        self.dialect = dialect
        self.began = False
        self.last_in: float | None = None
        self.status: tuple[str, dict[str, object]] | None = None
        self._record = record
        self._source = source
        self._turnstiles = turnstiles
        self._arrived = record.gaps.arrivals.append
        self._loop = asyncio.get_running_loop()
        self._delivery: Delivery
        self._answer: Answer | None = None
        self.stopped: asyncio.Future[GatewayError] = self._loop.create_future()
        self.news = asyncio.Event()

    def attach(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def stop(self, reason: GatewayError) -> None:
        """Ends it; the first reason counts."""
        if not self.stopped.done():
            self.stopped.set_result(reason)
            self.news.set()

    def leave(self) -> None:
        """Its client is gone. From now on nothing is read: of many that leave together, each would read until
        its task wakes."""
        if not self._delivery.delivered:
            self.stop(ClientGone("the client left"))
            if self._answer:
                self._answer.leave()

    def count_chunks(self) -> None:
        """Brings the count of what has been sent up to date: now and then, and at the end."""
        self._record.count_chunks(self.dialect.events)

    async def run(self) -> None:
        """Returns when the answer is complete or `stop` was called. Raises GatewayError."""
        async with self._source(self) as answer:
            self.status = None
            self.dialect.open(answer.status, answer.media_type)
            if self.dialect.instead and not self._delivery.committed:
                self.dialect = self.dialect.instead
            self._answer = answer
            await answer.pour(self._take)
            if self.stopped.done():
                return
            await self._end()
            with suppress(TimeoutError, GatewayError):
                async with asyncio.timeout(TAIL_SECONDS):
                    await answer.pour(lambda _: None)

    # What the source tells, see Waiting

    def accepted(self) -> None:
        self._record.accepted()

    def waits_for(self, state: str, **fields: object) -> None:
        self.status = state, fields

    def asked(self, backend: str) -> None:
        self._record.asked(backend)
        self.last_in = self._loop.time()

    # Upstream's bytes

    def _take(self, data: bytes) -> Awaitable[None] | None:
        """Passes on what one read has brought; what is returned must be waited for before the next read.

        Called within the read. Once the answer flows, its bytes are out when this returns: no task is woken.
        """
        if len(data) > LARGE_READ:
            return self._take_in_turn(data)
        # The event loop's clock, which itself stands still while the loop is at something.
        now = time.monotonic()
        frames = self.dialect.feed(data)
        if self.dialect.ended:
            assert self._answer
            self._answer.stop()  # what follows is no part of the answer
            return self._pass_on(frames, now)
        self.last_in = now
        if not frames:
            return None
        delivery = self._delivery
        if not delivery.direct:
            return self._pass_on(frames, now)
        self._arrived(now)
        delivery.last_out = now
        drained = delivery.direct.write(frames)
        return self._drain(drained) if drained else None

    async def _take_in_turn(self, data: bytes) -> None:
        self.last_in = self._loop.time()
        await self._turnstiles.large_reads.wait()
        for start in range(0, len(data), LARGE_READ):
            if not self.dialect.ended and (awaited := self._take(data[start : start + LARGE_READ])):
                await awaited

    async def _drain(self, drained: Awaitable[None]) -> None:
        await self._delivery.drain(drained)
        self.last_in = self._loop.time()

    async def _end(self) -> None:
        """Upstream's body has ended. Raises what the answer failed with."""
        dialect = self.dialect
        if not dialect.ended:
            if isinstance(dialect, Whole) and dialect.size > LARGE_READ:
                await self._turnstiles.large_reads.wait()
            await self._pass_on(dialect.end(), time.monotonic())
        if dialect.failure:
            raise dialect.failure

    async def _pass_on(self, frames: bytes, arrived: float) -> None:
        complete = self.dialect.ended and not self.dialect.failure
        if frames or complete:
            is_first, self.began = not self.began, True
            if is_first:
                self._record.first_chunk()
            self._arrived(arrived)
            await self._delivery.send(self.dialect, frames, last=complete)
            if is_first:
                self._record.handed_on(time.monotonic() - arrived)
                self._delivery.flow()
        self.last_in = self._loop.time()
