"""The streaming core: upstream's bytes in, the client's frames out. The only caller of send() on streams.

Two tasks carry a stream. One moves bytes and does nothing else. The other, `run`, watches over it: it waits
for whatever comes first of the end, a reason to stop, and the next moment at which something is due (a
heartbeat, a limit). So heartbeats and limits cost nothing a token.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol

import structlog
from starlette.types import Message, Receive, Send

from ..backends.client import UpstreamAnswer
from ..dialects.api import Api
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import ClientGone, Drained, GatewayError, InternalError, ReaderStalled, UpstreamTimeout
from ..settings import Settings
from ..telemetry.metrics import HEARTBEATS, IN_FLIGHT, STALLED_READERS, child
from ..telemetry.record import RequestRecord
from .turnstile import Turnstiles

# How long the end of upstream's body may take after its last line, for the connection to be used again.
TAIL_SECONDS = 1.0

# Of a fast upstream. What an ordinary answer's read brings is some hundred bytes.
LARGE_READ = 16 * 1024

# How long a client that does not read may hold up the end of its stream.
LAST_WORDS_SECONDS = 5.0


class Connection(Protocol):
    """The client's connection, where the server lets an application use it. ASGI knows no such thing.

    `on_lost` is called at the moment at which the connection is lost, before anybody is woken.
    """

    on_lost: Callable[[], None] | None

    def write(self, body: bytes) -> Awaitable[None] | None:
        """A part of a begun response's body, at once; what is returned must be waited for before the next."""

    def abort(self) -> None:
        """Drops the connection with whatever waits to be sent: closing it would wait for the reader."""


class Relay:
    """One stream, from the validated request to its settlement.

    `answer` is entered in the stream's own task, so whatever it waits for is given up when the client leaves.
    `streams` holds the relay while it runs.
    """

    def __init__(
        self,
        settings: Settings,
        record: RequestRecord,
        api: Api,
        dialect: Stream | Whole,
        answer: AbstractAsyncContextManager[UpstreamAnswer],
        streams: set["Relay"],
        turnstiles: Turnstiles,
    ) -> None:
        self._settings = settings
        self._record = record
        self._api = api
        self._dialect = dialect
        self._answer = answer
        self._streams = streams
        self._turnstiles = turnstiles
        self._arrived = record.gaps.arrivals.append
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._flowing: Connection | None = None  # once the first chunk is out
        self._upstream: UpstreamAnswer | None = None  # once it has begun to answer
        self._stopped: asyncio.Future[GatewayError] = self._loop.create_future()
        self._news = asyncio.Event()
        self._committed = False
        self._complete = False
        self._sending_since: float | None = None
        self._started = self._last_in = self._last_out = self._loop.time()

    def stop(self, reason: GatewayError) -> None:
        """Ends the stream; the first reason counts."""
        if not self._stopped.done():
            self._stopped.set_result(reason)
            self._news.set()

    async def run(self, receive: Receive, send: Send, connection: Connection | None) -> None:
        """Runs the stream to its end and tells the client how it ended, if there is one left."""
        self._send = send
        self._connection = connection
        if connection:
            connection.on_lost = self._client_left
        watch = asyncio.create_task(self._watch_client(receive))
        move = asyncio.create_task(self._move())
        move.add_done_callback(self._moved)
        # What it is if this task is cancelled, which is how uvicorn ends a drain that takes too long.
        failure: GatewayError | None = Drained("the gateway was stopped before the answer was complete")
        self._streams.add(self)
        # A pull may take an hour without a token: it is no answer that somebody waits for.
        requests = 1 if self._record.operation else 0
        in_flight = child(IN_FLIGHT, "stream" if self._record.streams else "whole")
        in_flight.inc(requests)
        try:
            failure = await self._oversee(move)
            if failure:
                await self._turnstiles.requests.wait()  # what ends one may end many
        except Exception:
            structlog.get_logger().exception("defect", request_id=self._record.request_id)
            failure = InternalError()
        finally:
            watch.cancel()
            if not move.done():
                move.cancel()
                # When this returns, the connection to upstream is closed and the model free.
                await asyncio.wait({move})
            if self._delivered:
                failure = None  # the client has its answer; what came of upstream's connection is no matter
            in_flight.dec(requests)
            self._streams.discard(self)
            if connection:
                connection.on_lost = None
            self._record.outcome = failure.outcome if failure else "ok"
            self.count_chunks()
            if usage := self._dialect.usage:
                self._record.prompt_tokens = usage.prompt_tokens
                self._record.output_tokens = usage.output_tokens
                self._record.upstream_seconds = usage.seconds
            if failure:
                try:
                    await self._tell(failure)
                except ReaderStalled:
                    STALLED_READERS.inc()
                    if connection:
                        connection.abort()

    def count_chunks(self) -> None:
        """Brings the count of what has been sent up to date: now and then, and at the end of the stream."""
        self._record.count_chunks(self._dialect.events)

    @property
    def _delivered(self) -> bool:
        """Whether the whole answer has been sent."""
        return self._complete and self._sending_since is None

    def _moved(self, move: asyncio.Task[None]) -> None:
        if not move.cancelled():
            move.exception()  # asyncio complains of those that nobody looks at
        self._news.set()

    async def _watch_client(self, receive: Receive) -> None:
        # receive() alone knows that the client has left: uvicorn's send() returns silently then.
        while (await receive())["type"] != "http.disconnect":
            pass
        self._client_left()

    def _client_left(self) -> None:
        """From now on nothing is read: of many that leave together, each would read until its task wakes."""
        if not self._delivered:
            self.stop(ClientGone("the client left"))
            if self._upstream:
                self._upstream.leave()

    async def _move(self) -> None:
        dialect: Stream | Whole = self._dialect
        self._record.asked()
        async with self._answer as answer:
            dialect.open(answer.status, answer.media_type)
            if dialect.instead and not self._committed:
                dialect = self._dialect = dialect.instead
            self._upstream = answer
            await answer.pour(self._take)
            if self._stopped.done():
                return
            if not dialect.ended:
                if isinstance(dialect, Whole) and dialect.size > LARGE_READ:
                    await self._turnstiles.large_reads.wait()
                await self._pass_on(dialect.end(), time.monotonic())
            if dialect.failure:
                raise dialect.failure
            with suppress(TimeoutError, GatewayError):
                async with asyncio.timeout(TAIL_SECONDS):
                    await answer.pour(lambda _: None)

    def _take(self, data: bytes) -> Awaitable[None] | None:
        """Passes on what one read has brought; what is returned must be waited for before the next read.

        Called within the read. Once the answer flows, its bytes are out when this returns: no task is woken.
        """
        if len(data) > LARGE_READ:
            return self._take_in_turn(data)
        # The event loop's clock, which itself stands still while the loop is at something.
        now = time.monotonic()
        frames = self._dialect.feed(data)
        if self._dialect.ended:
            assert self._upstream
            self._upstream.stop()  # what follows is no part of the answer
            return self._pass_on(frames, now)
        self._last_in = now
        if not frames:
            return None
        if not self._flowing:
            return self._pass_on(frames, now)
        self._arrived(now)
        self._last_out = now
        drained = self._flowing.write(frames)
        return self._drain(drained) if drained else None

    async def _take_in_turn(self, data: bytes) -> None:
        self._last_in = self._loop.time()
        await self._turnstiles.large_reads.wait()
        for start in range(0, len(data), LARGE_READ):
            if not self._dialect.ended and (awaited := self._take(data[start : start + LARGE_READ])):
                await awaited

    async def _drain(self, drained: Awaitable[None]) -> None:
        self._sending_since = self._loop.time()
        await drained
        self._sending_since = None
        self._last_out = self._last_in = self._loop.time()

    async def _pass_on(self, frames: bytes, arrived: float) -> None:
        complete = self._dialect.ended and not self._dialect.failure
        if frames or complete:
            is_first = self._record.first_chunk_after is None
            if is_first:
                self._record.first_chunk()
            self._arrived(arrived)
            self._complete = complete
            self._sending_since = self._loop.time()
            if not self._committed:
                await self._commit()
            await self._send({"type": "http.response.body", "body": frames, "more_body": not self._complete})
            self._sending_since = None
            self._last_out = self._loop.time()
            if is_first:
                self._record.handed_on(time.monotonic() - arrived)
                self._flowing = self._connection
        self._last_in = self._loop.time()

    async def _oversee(self, move: asyncio.Task[None]) -> GatewayError | None:
        """Returns why the stream failed, or None."""
        shortest = min(self._settings.heartbeat, self._settings.idle_timeout, self._settings.send_timeout)
        while True:
            # What is due may move nearer while this waits, when bytes begin to flow or a send to block.
            wait = min(self._next_due() - self._loop.time(), shortest)
            alarm = self._loop.call_later(max(0, wait), self._news.set)
            try:
                await self._news.wait()
            finally:
                alarm.cancel()
            self._news.clear()
            try:
                if self._stopped.done() and not self._delivered:
                    return self._stopped.result()
                if move.done():
                    return move.result()
                await self._do_what_is_due()
            except GatewayError as failure:
                # Its frames know the task that knows it: a cycle would wait for the collector.
                return failure.with_traceback(None)

    def _next_due(self) -> float:
        if self._delivered:
            return self._loop.time() + TAIL_SECONDS  # nothing is: the tail has its own limit
        if self._sending_since is not None:
            return self._sending_since + self._settings.send_timeout
        if not self._dialect.heartbeat:
            return self._upstream_limit()
        sign_of_life = (
            self._last_out + self._settings.heartbeat
            if self._committed
            else self._started + self._settings.early_commit
        )
        return min(self._upstream_limit(), sign_of_life)

    def _upstream_limit(self) -> float:
        if self._record.first_chunk_after is None:
            return self._last_in + self._settings.first_byte_timeout
        return self._last_in + self._settings.idle_timeout

    async def _do_what_is_due(self) -> None:
        now = self._loop.time()
        if now < self._next_due():
            return
        if self._sending_since is not None:
            raise ReaderStalled("the client took nothing for too long")
        if now >= self._upstream_limit():
            raise UpstreamTimeout("the model server was silent for too long")
        # Past this point errors are events. Ollama sends no header before its first token, so the
        # client would otherwise hear nothing for as long as a model takes to load.
        if not self._committed:
            await self._commit()
        await self._send_aside(self._dialect.heartbeat, more=True)
        HEARTBEATS.inc()

    async def _commit(self) -> None:
        self._committed = True
        start = {"status": self._dialect.status, "headers": self._dialect.headers}
        await self._send({"type": "http.response.start", **start})

    async def _send_aside(self, body: bytes, *, more: bool, seconds: float | None = None) -> None:
        """Sends what is not of the answer, as long as nothing stops the stream meanwhile."""
        message = {"type": "http.response.body", "body": body, "more_body": more}
        sending = asyncio.ensure_future(self._send_if_unfinished(message))
        either: set[asyncio.Future[Any]] = {sending} if self._stopped.done() else {sending, self._stopped}
        limit = seconds or self._settings.send_timeout
        done, _ = await asyncio.wait(either, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if sending in done:
            sending.result()
            self._last_out = self._loop.time()
            return
        sending.cancel()
        if not done:
            raise ReaderStalled("the client took nothing for too long")

    async def _send_if_unfinished(self, message: Message) -> None:
        """When this begins, the answer's end may have been sent since it was decided."""
        if not self._complete:
            await self._send(message)

    async def _tell(self, failure: GatewayError) -> None:
        """Sends the terminal event, or the status if nothing has been sent yet. Raises ReaderStalled."""
        request_id = self._record.request_id
        if isinstance(failure, ClientGone):
            self._record.status = failure.status
            if isinstance(failure, ReaderStalled):
                raise failure
            return
        if self._committed:
            last = self._dialect.error(failure, request_id)
            await self._send_aside(last, more=False, seconds=LAST_WORDS_SECONDS)
            return
        status, media_type, body = self._api.refusal(failure, request_id)
        headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % len(body)),
            *failure.headers(),
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send_aside(body, more=False, seconds=LAST_WORDS_SECONDS)
