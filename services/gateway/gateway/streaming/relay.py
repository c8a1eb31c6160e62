"""Relays an answer to its client, from the accepted request to the settled record.

Each answer has two tasks. One only moves bytes. The other, `run`, supervises it: it waits for the end, for a
reason to stop, or for the next deadline (a heartbeat or a timeout), whichever is first. So heartbeats and
timeouts cost nothing per token.
"""

import asyncio

import structlog

from ..ask.waiting import Status
from ..dialects.api import Api
from ..dialects.stream import Stream
from ..errors import (
    AnswerTooLong,
    ClientGone,
    Drained,
    GatewayError,
    InternalError,
    ReaderStalled,
    UpstreamTimeout,
)
from ..settings import Settings
from ..telemetry.metrics import HEARTBEATS
from ..telemetry.record import RequestRecord
from ..turnstile import Turnstiles
from .deadlines import Deadlines, Due
from .delivery import STALLED
from .destination import Destination
from .generation import Generation

# How long to wait for a client to accept the final error of its answer.
FINAL_SEND_SECONDS = 5.0


class Relay:
    """`generations` holds the generation while it runs, for draining and for the metrics."""

    def __init__(
        self,
        settings: Settings,
        record: RequestRecord,
        api: Api,
        generation: Generation,
        generations: set[Generation],
        turnstiles: Turnstiles,
    ) -> None:
        self._settings = settings
        self._record = record
        self._api = api
        self._generation = generation
        self._generations = generations
        self._turnstiles = turnstiles
        self._deadlines = Deadlines(settings)
        self._loop = asyncio.get_running_loop()
        self._changed = generation.changed
        self._sent_status: Status | None = None  # the last one that was sent to the client

    def stop(self, reason: GatewayError) -> None:
        """End the answer; only the first reason counts."""
        self._generation.stop(reason)

    async def run(self, delivery: Destination) -> None:
        """Run the answer to its end and send the client the error, if it failed."""
        generation = self._generation
        self._delivery = delivery
        generation.attach(delivery)
        delivery.when_lost(generation.abandon)
        watch = asyncio.create_task(self._watch_client())
        move = asyncio.create_task(generation.run())
        move.add_done_callback(self._move_done)
        # The failure if this task is cancelled, which is how uvicorn ends a drain that takes too long.
        failure: GatewayError | None = Drained("the gateway was stopped before the answer was complete")
        self._generations.add(generation)
        try:
            failure = await self._supervise(move)
            if failure:
                await self._turnstiles.requests.wait()  # many may fail at the same moment
        except Exception:
            structlog.get_logger().exception("unhandled_exception", request_id=self._record.request_id)
            failure = InternalError()
        finally:
            watch.cancel()
            if not move.done():
                move.cancel()
                # After this the connection to upstream is closed and the model is free.
                await asyncio.wait({move})
            if delivery.delivered:
                failure = None  # the client has the whole answer; a later upstream error does not matter
            self._generations.discard(generation)
            delivery.when_lost(None)
            ending = self._cut() if isinstance(failure, AnswerTooLong) else b""
            self._settle(None if ending else failure)
            if failure:
                try:
                    await self._send_failure(failure, ending)
                except ReaderStalled:
                    delivery.drop()

    def _move_done(self, move: asyncio.Task[None]) -> None:
        if not move.cancelled():
            error = move.exception()  # marks it as retrieved, or asyncio logs it
            if isinstance(error, GatewayError):
                error.with_traceback(None)  # a reference cycle if another failure wins
        self._changed.set()

    async def _watch_client(self) -> None:
        await self._delivery.left()
        self._generation.abandon()

    async def _supervise(self, move: asyncio.Task[None]) -> GatewayError | None:
        """Wait for the end of the answer; returns its failure or None."""
        stopped = self._generation.stopped
        while True:
            try:
                if stopped.done() and not self._delivery.delivered:
                    return stopped.result()
                if move.done():
                    return move.result()
                now = self._loop.time()
                due = self._deadlines.next(self._generation, self._delivery, now)
                if due.at <= now and due.what != "nothing":
                    await self._handle_deadline(due)
                    continue
            except GatewayError as failure:
                # Its traceback references the task: a cycle would wait for the garbage collector.
                return failure.with_traceback(None)
            await self._wait(max(0, min(due.at - now, self._deadlines.shortest)))

    async def _wait(self, seconds: float) -> None:
        """Wait until something has changed, at most so long."""
        alarm = self._loop.call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            alarm.cancel()
        self._changed.clear()

    async def _handle_deadline(self, due: Due) -> None:
        if due.what == "send timeout":
            raise ReaderStalled(STALLED)
        if due.what == "upstream timeout":
            raise UpstreamTimeout("the model server was silent for too long")
        if due.what == "answer too long":
            seconds = self._settings.max_answer_seconds
            raise AnswerTooLong(
                f"the answer took longer than {seconds:g} s, which is the longest allowed here"
            )
        # From here on errors are events. Ollama sends no headers before its first token, so the client would
        # otherwise receive nothing while a model loads.
        dialect, stopped = self._generation.dialect, self._generation.stopped
        seconds = self._settings.send_timeout
        if not self._delivery.committed:
            await self._delivery.commit(dialect, seconds)
        status = self._new_status()
        if due.what == "heartbeat" or status:
            body = status or dialect.heartbeat
            await self._delivery.send_heartbeat(body, stopped, seconds)
            HEARTBEATS.inc()

    def _new_status(self) -> bytes:
        """What the answer waits for, if the client's format can say it and the client does not know yet."""
        dialect, current = self._generation.dialect, self._generation.status
        self._delivery.status_at = self._loop.time()
        if not isinstance(dialect, Stream) or not dialect.shows_status or not current:
            return b""
        status = current()
        if status is None or status is self._sent_status:
            return b""
        self._sent_status = status
        return dialect.status(*status)

    def _cut(self) -> bytes:
        """The end of an answer that took too long; empty if it has to be an error."""
        self._record.cut = True
        return self._generation.cut()

    def _settle(self, failure: GatewayError | None) -> None:
        self._generation.count_chunks()
        if usage := self._generation.dialect.usage:
            self._record.used(usage.prompt_tokens, usage.output_tokens, usage.seconds)
        self._record.answered(failure.outcome if failure else "ok")

    async def _send_failure(self, failure: GatewayError, ending: bytes) -> None:
        """Send the final event, `ending` if there is one, or an error response if nothing is sent yet.

        Raises ReaderStalled.
        """
        request_id = self._record.request_id
        if isinstance(failure, ClientGone):
            self._record.status = failure.status
            if isinstance(failure, ReaderStalled):
                raise failure
        elif self._delivery.committed:
            last = ending or self._generation.dialect.error(failure, request_id)
            await self._delivery.close(last, FINAL_SEND_SECONDS)
        else:
            await self._delivery.refuse(self._api.refusal(failure, request_id), FINAL_SEND_SECONDS)
