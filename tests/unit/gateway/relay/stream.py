"""A relay driven by hand: the test is the server on one side and the model on the other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.ask.waiting import Status, Used, Waiting
from gateway.backends.client import UpstreamAnswer
from gateway.backends.response_body import Sink
from gateway.dialects.api import CHAT
from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.whole import Whole
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.streaming.delivery import Delivery
from gateway.streaming.generation import Generation
from gateway.streaming.relay import Relay
from gateway.telemetry.record import RequestRecord
from gateway.turnstile import Turnstiles

FOR_EVER = 1000.0


LOADING = Status("loading", {"since": 1})


class Model:
    """Upstream: what the test puts in comes out; an exception is raised; None is the end."""

    def __init__(self) -> None:
        self.bytes: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.may_be_accepted = asyncio.Event()
        self.may_be_accepted.set()
        self.may_ask, self.may_open = asyncio.Event(), asyncio.Event()
        self.may_ask.set()
        self.may_open.set()
        self.loads = False
        self.on_release: Callable[[], None] | None = None
        self.refusal: GatewayError | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.sent = asyncio.Event()
        self.used: list[Used] = []
        self.released = self.left = False

    @asynccontextmanager
    async def answer(self, waiting: Waiting) -> AsyncIterator[UpstreamAnswer]:
        self.opened.set()
        try:
            await self.may_be_accepted.wait()
            waiting.add_headers(self.headers)
            waiting.accepted()
            waiting.when_sent(self.on_sent)
            await self.may_ask.wait()
            self.used.append(waiting.tokens())
            waiting.asked("ollama")
            if self.loads:
                waiting.waits_for(lambda: LOADING)
            await self.may_open.wait()
            if self.refusal:
                raise self.refusal
            yield Answer(self)
        finally:
            self.used.append(waiting.tokens())
            await asyncio.sleep(0)  # what a connection takes to close
            self.released = True
            on_release, self.on_release = self.on_release, None
            if on_release:
                on_release()

    async def on_sent(self) -> None:
        self.sent.set()


class Answer(UpstreamAnswer):
    def __init__(self, model: Model) -> None:
        self.status = 200
        self.media_type = "application/x-ndjson"
        self._model = model
        self._items = model.bytes
        self._stopped = False

    async def stream_into(self, sink: Sink) -> None:
        self._stopped = False
        while not self._stopped and (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if awaited := sink(item):
                await awaited

    def stop(self) -> None:
        self._stopped = True

    def discard(self) -> None:
        self._model.left = True


class Client:
    """The server's side of ASGI, and the connection that it lets the application use."""

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] | None = None
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.history: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.aborted = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.history.append(message)
        self.sent.put_nowait(message)

    def write(self, body: bytes) -> Awaitable[None] | None:
        sending = self.send({"type": "http.response.body", "body": body, "more_body": True})
        if not self.reads.is_set():
            return sending
        with pytest.raises(StopIteration):  # it has nothing to wait for
            sending.send(None)
        return None

    def abort(self) -> None:
        self.aborted.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.history)


class Stream:
    """A relay that runs, with both of its ends."""

    def __init__(self, dialect: ChatSSE | Whole | None = None, **settings: Any) -> None:
        limits = {"early_commit": FOR_EVER, "first_byte_timeout": FOR_EVER, "heartbeat": FOR_EVER}
        self.model = Model()
        self.client = Client()
        self.record = RequestRecord(request_id="req-1", client="127.0.0.1")
        self.generations: set[Generation] = set()
        self.record.asks("chat", streams=True)
        self.generation = Generation(
            dialect or ChatSSE(1_000_000), self.record, self.model.answer, Turnstiles()
        )
        limited = Settings(**{**limits, **settings})
        self.relay = Relay(limited, self.record, CHAT, self.generation, self.generations, Turnstiles())
        self.task = asyncio.create_task(
            self.relay.run(Delivery(self.client.receive, self.client.send, self.client))
        )

    async def end(self) -> None:
        """When it returns the model is free, and no task is left behind."""
        async with asyncio.timeout(10):
            await self.task
            assert self.model.released or not self.model.opened.is_set()
            while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - a step or two
                await asyncio.sleep(0)

    async def next_sent(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self.client.sent.get()
