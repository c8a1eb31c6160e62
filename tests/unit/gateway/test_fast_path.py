"""What a token costs in the gateway, counted, not timed: fails when the way of a token gets longer."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import httptools
import pytest

from gateway.backends.client import UpstreamAnswer
from gateway.backends.http1 import Connection
from gateway.backends.response_body import Body
from gateway.dialects.api import CHAT, OLLAMA, OPENAI, Api
from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.ollama import Ndjson
from gateway.dialects.openai import Completions
from gateway.dialects.stream import Stream
from gateway.settings import Settings
from gateway.streaming.delivery import Delivery
from gateway.streaming.generation import Generation
from gateway.streaming.relay import Relay
from gateway.telemetry.record import RequestRecord
from gateway.turnstile import Turnstiles
from tests.fakes.answers import ANSWERS

TOKENS = 100
# Of Python functions, the two of this test among them.
MOST_CALLS = 10


class Socket(asyncio.Transport):
    """Of upstream and of the client at once: what is written is counted."""

    on_lost: Callable[[], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, body: Any) -> Awaitable[None] | None:  # type: ignore[override]
        self.writes += 1
        return None

    def abort(self) -> None:
        raise AssertionError("nothing goes wrong here")


class Answer(UpstreamAnswer):
    """An answer whose body comes from a connection that the test feeds."""

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class Counted:
    """One stream that flows: `read` is what a read of upstream's socket calls."""

    def __init__(self, api: Api, dialect: type[Stream]) -> None:
        self.client = Socket()
        self._upstream = Connection(("http", "upstream", 1), lambda _: None, lambda _: None)
        self._upstream.connection_made(Socket())
        body = self._upstream.body = Body(self.client, lambda: None)
        parser = type("Callbacks", (), {"on_body": staticmethod(body.append)})()
        self._upstream._parser = httptools.HttpResponseParser(parser)
        self._upstream._parser.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        record = RequestRecord("id", "client")
        record.asks("chat", streams=True)
        record.accepted()
        answer = Answer(200, "", body)
        self.generation = Generation(dialect(1 << 20), record, lambda _: answer, Turnstiles())
        self.relay = Relay(Settings(), record, api, self.generation, set(), Turnstiles())

    def read(self, unit: bytes) -> None:
        self._upstream.data_received(b"%x\r\n%b\r\n" % (len(unit), unit))

    async def flow(self, unit: bytes) -> asyncio.Task[None]:
        """Runs the stream until its first token is out."""
        sent = asyncio.Event()

        async def send(message: Any) -> None:
            if message.get("body"):
                sent.set()

        receive: Any = asyncio.Event().wait  # the client stays
        running = asyncio.create_task(self.relay.run(Delivery(receive, send, self.client)))
        await asyncio.sleep(0)
        self.read(unit)
        async with asyncio.timeout(10):
            await sent.wait()
        while not self.relay._delivery.direct:  # noqa: ASYNC110 - it is a matter of a step or two
            await asyncio.sleep(0)
        return running


@pytest.mark.parametrize(
    ("api", "dialect"),
    [(CHAT, ChatSSE), (OLLAMA, Ndjson), (OPENAI, Completions)],
    ids=["/chat", "/api/chat", "/v1/chat/completions"],
)
async def test_a_token_is_one_write_within_its_read_and_few_calls(
    api: Api, dialect: type[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Counted(api, dialect)
    unit = ANSWERS[dialect.__name__].parts[0]
    running = await stream.flow(unit)
    loop = asyncio.get_running_loop()
    switches, calls = 0, 0
    call_soon = loop.call_soon

    def counted_call_soon(*arguments: Any, **options: Any) -> Any:
        nonlocal switches
        switches += 1
        return call_soon(*arguments, **options)

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = stream.client.writes
    monkeypatch.setattr(loop, "call_soon", counted_call_soon)
    sys.setprofile(count)
    for _ in range(TOKENS):
        stream.read(unit)
    sys.setprofile(None)
    monkeypatch.undo()
    print(f"{calls / TOKENS} calls of Python functions a token")
    assert stream.client.writes - before == TOKENS
    assert switches == 0
    assert calls // TOKENS <= MOST_CALLS  # a few of all may be the interpreter's own
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
