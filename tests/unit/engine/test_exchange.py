import asyncio
import json
from typing import Any

import pytest

from engine.api.exchange import Endpoint, Exchange, Record
from engine.api.ollama.errors import OllamaErrors
from engine.api.state import State
from engine.errors import BadRequestError, EngineError
from engine.inference.scheduler import Scheduler
from engine.models.catalogue import Catalogue
from engine.settings import Settings
from engine.telemetry.metrics import Metrics

REQUEST = {"type": "http.request", "body": b"{}", "more_body": False}
DISCONNECT = {"type": "http.disconnect"}


class Client:
    """Drives an endpoint by hand. What it has not yet been told, receive() waits for."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in events:
            self.events.put_nowait(event)
        self.sent: list[Any] = []
        settings = Settings()
        self.state = State(settings, Catalogue(None), Scheduler(settings), Metrics(threads=1))
        self.record = Record()

    async def send(self, event: Any) -> None:
        self.sent.append(event)
        if not event.get("more_body") and event["type"] == "http.response.body":
            # As uvicorn does once the answer is complete.
            self.events.put_nowait(DISCONNECT)
            await asyncio.sleep(0)

    async def run(self, work: Any) -> None:
        scope = {"type": "http", "headers": [], "state": {"engine": self.state, "record": self.record}}
        await Endpoint(work, OllamaErrors())(scope, self.events.get, self.send)

    def counted(self, outcome: str) -> float:
        value = self.state.metrics.registry.get_sample_value("engine_requests_total", {"outcome": outcome})
        assert value is not None
        return value


async def test_work_ends_when_the_client_leaves() -> None:
    client = Client(REQUEST)
    cleaned = False

    async def work(exchange: Exchange, body: object) -> None:
        nonlocal cleaned
        await exchange.begin("text/plain")
        await exchange.write(b"x")
        client.events.put_nowait(DISCONNECT)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned = True

    await asyncio.wait_for(client.run(work), 5)
    assert cleaned
    assert client.record.outcome == "client_gone"
    assert client.counted("client_gone") == 1


async def test_a_client_that_leaves_while_it_sends_starts_no_work() -> None:
    client = Client({**REQUEST, "more_body": True}, DISCONNECT)

    async def work(exchange: Exchange, body: object) -> None:
        raise AssertionError("never")

    await client.run(work)
    assert client.record.outcome == "client_gone"


async def test_the_disconnect_after_the_last_byte_is_none() -> None:
    client = Client(REQUEST)

    async def work(exchange: Exchange, body: object) -> None:
        await exchange.reply({"a": 1})
        await asyncio.sleep(0.01)

    await client.run(work)
    assert client.record.outcome == "ok"
    assert json.loads(client.sent[1]["body"]) == {"a": 1}


async def test_a_body_in_parts_is_put_together() -> None:
    client = Client({**REQUEST, "body": b'{"a"', "more_body": True}, {**REQUEST, "body": b":1}"})
    bodies = []

    async def work(exchange: Exchange, body: object) -> None:
        bodies.append(body)
        await exchange.reply({})

    await client.run(work)
    assert bodies == [{"a": 1}]


async def test_an_error_before_the_first_byte_has_a_status() -> None:
    client = Client(REQUEST)

    async def work(exchange: Exchange, body: object) -> None:
        raise BadRequestError("no")

    await client.run(work)
    assert client.sent[0]["status"] == 400
    assert json.loads(client.sent[1]["body"]) == {"error": "no"}
    assert client.record.outcome == "error"


async def test_an_error_after_the_first_byte_is_the_last_line() -> None:
    client = Client(REQUEST)

    async def work(exchange: Exchange, body: object) -> None:
        await exchange.begin("application/x-ndjson")
        await exchange.write(b"{}\n")
        raise EngineError("broken")

    await client.run(work)
    assert client.sent[0]["status"] == 200
    assert b"".join(event["body"] for event in client.sent[1:]) == b'{}\n{"error":"broken"}\n'
    assert client.sent[-1].get("more_body") is None


async def test_a_defect_is_not_told_to_the_client() -> None:
    client = Client(REQUEST)

    async def work(exchange: Exchange, body: object) -> None:
        raise KeyError("secret")

    await client.run(work)
    assert client.sent[0]["status"] == 500
    assert json.loads(client.sent[1]["body"]) == {"error": "internal error"}


async def test_a_cancelled_server_cancels_the_work() -> None:
    client = Client(REQUEST)
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def work(exchange: Exchange, body: object) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    task = asyncio.create_task(client.run(work))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
    assert client.sent[0]["status"] == 503
    assert client.record.outcome == "error"
