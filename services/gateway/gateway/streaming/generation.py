"""One answer from upstream, from request to terminal event, as frames of its dialect."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

from ..ask.waiting import Status, Used, Waiting
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import ClientGone, GatewayError
from ..telemetry.record import RequestRecord
from ..turnstile import Turnstiles
from .destination import Destination

# How long to wait for the end of upstream's body after its final event, to reuse the connection.
TAIL_SECONDS = 1.0

# Ordinary reads bring a few hundred bytes; larger ones are processed in turn.
LARGE_READ = 16 * 1024


class Answer(Protocol):
    """Upstream's response."""

    status: int
    media_type: str

    async def stream_into(self, sink: Callable[[bytes], Awaitable[None] | None]) -> None:
        """Call `sink` with the bytes of each read, and await what it returns."""

    def stop(self) -> None:
        """Make `stream_into` return."""

    def discard(self) -> None:
        """Make `stream_into` return and read nothing more."""


class Generation:
    """Reads one answer and passes its frames to the attached delivery.

    `source` opens the answer and reports its progress to this object; it is entered in the task that runs
    `run`, so cancelling that task also ends whatever the source waits for. `accepted_at` is the time at which
    the request passed the access checks, `asked_at` that of the request to upstream, `last_in` that of the
    last bytes from upstream, or of the request to it; each is None before that. `answering` is whether
    upstream has sent the first byte of its body, `began` whether the client has been sent any of it. `status`
    returns what the answer waits for, until it begins. `changed` wakes the relay.
    """

    def __init__(
        self,
        dialect: Stream | Whole,
        record: RequestRecord,
        source: Callable[[Waiting], AbstractAsyncContextManager[Answer]],
        turnstiles: Turnstiles,
    ) -> None:
        self.dialect = dialect
        self.answering = self.began = False
        self.accepted_at: float | None = None
        self.asked_at: float | None = None
        self.last_in: float | None = None
        self.status: Callable[[], Status | None] | None = None
        self.request_id = record.request_id
        self._record = record
        self._source = source
        self._turnstiles = turnstiles
        self._arrived = record.gaps.arrivals.append
        self._loop = asyncio.get_running_loop()
        self._delivery: Destination
        self._settle: Callable[[], Awaitable[None]] | None = None
        self._answer: Answer | None = None
        self.stopped: asyncio.Future[GatewayError] = self._loop.create_future()
        self.changed = asyncio.Event()

    def attach(self, delivery: Destination) -> None:
        self._delivery = delivery

    def stop(self, reason: GatewayError) -> None:
        """End the answer; only the first reason counts."""
        if not self.stopped.done():
            self.stopped.set_result(reason)
            self.changed.set()

    def abandon(self) -> None:
        """The client has disconnected. Reading stops immediately: if many disconnect together, each answer
        would otherwise be read until its task runs."""
        if not self._delivery.delivered:
            self.stop(ClientGone("the client disconnected"))
            if self._answer:
                self._answer.discard()

    @property
    def seconds(self) -> float:
        """Time for which upstream has worked on a model's answer; 0 for anything else."""
        if self.asked_at is None or not self._record.operation:
            return 0
        return self._loop.time() - self.asked_at

    def count_chunks(self) -> None:
        """Update the count of sent chunks: periodically and at the end."""
        self._record.count_chunks(self.dialect.events)

    def cut(self) -> bytes:
        """The end of an answer that is ended early; empty if it has none. Reading must have stopped."""
        return self.dialect.cut() if self.began and not self.dialect.ended else b""

    async def run(self) -> None:
        """Run until the answer is complete or `stop` is called. Raises GatewayError."""
        async with self._source(self) as answer:
            self.status = None
            self.dialect.open(answer.status, answer.media_type)
            if self.dialect.instead and not self._delivery.committed:
                self.dialect = self.dialect.instead
            self._answer = answer
            await answer.stream_into(self._take)
            if self.stopped.done():
                return
            await self._end()
            if self._settle:
                await self._settle()
            with suppress(TimeoutError, GatewayError):
                async with asyncio.timeout(TAIL_SECONDS):
                    await answer.stream_into(lambda _: None)

    # Progress of the source: see Waiting

    def add_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._delivery.headers = [*self._delivery.headers, *headers]

    def accepted(self) -> None:
        self._record.accepted()
        self.accepted_at = self._loop.time()

    def waits_for(self, status: Callable[[], Status | None]) -> None:
        self.status = status
        # It may have been sent to a server that has failed.
        self.asked_at = self.last_in = None

    def waited(self, seconds: float) -> None:
        self.status = None  # it may refer to this
        self._record.queue_seconds = (self._record.queue_seconds or 0) + seconds

    def loaded(self, backend: str, seconds: float) -> None:
        self._record.loaded(backend, seconds)

    def asked(self, backend: str) -> None:
        self._record.asked(backend)
        self._delivery.asked(backend)
        self.asked_at = self.last_in = self._loop.time()

    def tokens(self) -> Used:
        if self.asked_at is None:
            return Used(0, 0)  # upstream has not been asked
        seconds = self._loop.time() - self.asked_at
        complete = self.dialect.ended and not self.dialect.failure
        if usage := self.dialect.usage:
            return Used(usage.prompt_tokens, usage.output_tokens, seconds, complete)
        return Used(None, self.dialect.events, seconds, complete)

    def when_sent(self, settle: Callable[[], Awaitable[None]]) -> None:
        self._settle = settle

    # Upstream's bytes

    def _take(self, data: bytes) -> Awaitable[None] | None:
        """Process the bytes of one read; the awaitable, if any, must be awaited before the next one.

        Called during the read. Once frames are written directly, they are out when this returns, without
        waking a task.
        """
        if len(data) > LARGE_READ:
            return self._take_in_turn(data)
        # Not loop.time(), which is cached during an iteration of the event loop.
        now = time.monotonic()
        frames = self.dialect.feed(data)
        if self.dialect.ended:
            assert self._answer
            self._answer.stop()  # the rest is not part of the answer
            return self._send(frames, now)
        self.last_in = now
        self.answering = True
        if not frames:
            return None
        delivery = self._delivery
        if not delivery.direct:
            return self._send(frames, now)
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
        """Upstream's body has ended. Raises the answer's failure."""
        dialect = self.dialect
        if not dialect.ended:
            if isinstance(dialect, Whole) and dialect.size > LARGE_READ:
                await self._turnstiles.large_reads.wait()
            await self._send(dialect.end(), time.monotonic())
        if dialect.failure:
            raise dialect.failure

    async def _send(self, frames: bytes, arrived: float) -> None:
        complete = self.dialect.ended and not self.dialect.failure
        if frames or complete:
            is_first, self.began = not self.began, True
            if is_first:
                self._record.first_chunk()
            self._arrived(arrived)
            await self._delivery.send(self.dialect, frames, last=complete)
            if is_first:
                self._record.first_chunk_sent(time.monotonic() - arrived)
                self._delivery.go_direct()
        self.last_in = self._loop.time()
