"""Carries an answer to its client, from the accepted request to its settlement.

Two tasks carry an answer. One moves bytes and does nothing else. The other, `run`, watches over it: it waits
for whatever comes first of the end, a reason to stop, and the next moment at which something is due (a sign
of life, a limit). So heartbeats and limits cost nothing a token.
"""

import asyncio

import structlog
from starlette.types import Receive, Send

from ..dialects.api import Api
from ..errors import ClientGone, Drained, GatewayError, InternalError, ReaderStalled, UpstreamTimeout
from ..settings import Settings
from ..telemetry.metrics import HEARTBEATS
from ..telemetry.record import RequestRecord
from ..turnstile import Turnstiles
from .deadlines import Deadlines
from .delivery import Connection, Delivery
from .generation import Generation

# How long a client that does not read may hold up the end of its answer.
LAST_WORDS_SECONDS = 5.0


class Relay:
    """`generations` holds the generation while it runs, for whoever has to stop or to count it."""

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
        self._news = generation.news
        self._told: object = None  # of what is waited for, what the client has been told

    async def run(self, receive: Receive, send: Send, connection: Connection | None) -> None:
        """Runs the answer to its end and tells the client how it ended, if there is one left."""
        generation = self._generation
        self._delivery = delivery = Delivery(send, connection)
        generation.attach(delivery)
        if connection:
            connection.on_lost = generation.leave
        watch = asyncio.create_task(self._watch_client(receive))
        move = asyncio.create_task(generation.run())
        move.add_done_callback(self._moved)
        # What it is if this task is cancelled, which is how uvicorn ends a drain that takes too long.
        failure: GatewayError | None = Drained("the gateway was stopped before the answer was complete")
        self._generations.add(generation)
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
            if delivery.delivered:
                failure = None  # the client has its answer; what came of upstream's connection is no matter
            self._generations.discard(generation)
            if connection:
                connection.on_lost = None
            self._settle(failure)
            if failure:
                try:
                    await self._tell(failure)
                except ReaderStalled:
                    delivery.drop()

    def _moved(self, move: asyncio.Task[None]) -> None:
        if not move.cancelled():
            move.exception()  # asyncio complains of those that nobody looks at
        self._news.set()

    async def _watch_client(self, receive: Receive) -> None:
        # receive() alone knows that the client has left: uvicorn's send() returns silently then.
        while (await receive())["type"] != "http.disconnect":
            pass
        self._generation.leave()

    async def _oversee(self, move: asyncio.Task[None]) -> GatewayError | None:
        """Returns why the answer failed, or None."""
        stopped = self._generation.stopped
        while True:
            now = self._loop.time()
            due = self._deadlines.next(self._generation, self._delivery, now)
            alarm = self._loop.call_later(max(0, min(due.at - now, self._deadlines.shortest)), self._news.set)
            try:
                await self._news.wait()
            finally:
                alarm.cancel()
            self._news.clear()
            try:
                if stopped.done() and not self._delivery.delivered:
                    return stopped.result()
                if move.done():
                    return move.result()
                await self._do_what_is_due()
            except GatewayError as failure:
                # Its frames know the task that knows it: a cycle would wait for the collector.
                return failure.with_traceback(None)

    async def _do_what_is_due(self) -> None:
        now = self._loop.time()
        due = self._deadlines.next(self._generation, self._delivery, now)
        if now < due.at or due.what == "nothing":
            return
        if due.what == "reader's limit":
            raise ReaderStalled("the client took nothing for too long")
        if due.what == "upstream's limit":
            raise UpstreamTimeout("the model server was silent for too long")
        # Past this point errors are events. Ollama sends no header before its first token, so the
        # client would otherwise hear nothing for as long as a model takes to load.
        dialect, stopped = self._generation.dialect, self._generation.stopped
        if not self._delivery.committed:
            await self._delivery.commit(dialect)
        await self._delivery.send_aside(self._sign_of_life(), stopped, self._settings.send_timeout)
        HEARTBEATS.inc()

    def _sign_of_life(self) -> bytes:
        """What is waited for, if that is news and the client's format can say it; else a heartbeat."""
        dialect, status = self._generation.dialect, self._generation.status
        if status is None or status is self._told:
            return dialect.heartbeat
        self._told = status
        state, fields = status
        return dialect.status(state, fields) or dialect.heartbeat

    def _settle(self, failure: GatewayError | None) -> None:
        self._generation.count_chunks()
        if usage := self._generation.dialect.usage:
            self._record.used(usage.prompt_tokens, usage.output_tokens, usage.seconds)
        self._record.answered(failure.outcome if failure else "ok")

    async def _tell(self, failure: GatewayError) -> None:
        """Sends the terminal event, or the status if nothing has been sent yet. Raises ReaderStalled."""
        request_id = self._record.request_id
        if isinstance(failure, ClientGone):
            self._record.status = failure.status
            if isinstance(failure, ReaderStalled):
                raise failure
        elif self._delivery.committed:
            last = self._generation.dialect.error(failure, request_id)
            await self._delivery.close(last, LAST_WORDS_SECONDS)
        else:
            await self._delivery.refuse(self._api.refusal(failure, request_id), LAST_WORDS_SECONDS)
