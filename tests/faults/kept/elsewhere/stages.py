"""Three gateways around a Valkey, and readers of their answers."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import question
from tests.integration.queue.queues import until
from tests.integration.resume.gateways import Gateway, gateways
from tests.load.workers import workers_of
from tests.model.clients.answers import RESPONSE
from tests.valkey import Server, valkey

ASYNC = {"Prefer": "respond-async"}
SETTINGS = {"GATEWAY_SLOTS": "20", "GATEWAY_HEARTBEAT": "1", "GATEWAY_GRACE": "8"}
HALF = (line("a"), line("b\u2028\u00e9"))
REST = (line("c"), DONE)


class Stage(NamedTuple):
    """Three gateways: the first makes all answers."""

    fake: FakeOllama
    server: Server
    gateways: list[Gateway]

    @property
    def home(self) -> Gateway:
        return self.gateways[0]

    @property
    def others(self) -> list[Gateway]:
        return self.gateways[1:]


@contextmanager
def stage(folder: Path, **environment: str) -> Iterator[Stage]:
    fake = FakeOllama()
    fake.answer("short", *HALF, *REST)
    fake.answer("halts", *HALF, Do.WAIT, *REST)
    fake.answer("hangs", *HALF, Do.HANG)
    fake.answer("silent", Do.HANG)
    fake.answer("response", *RESPONSE[:5], Do.WAIT, *RESPONSE[5:])
    settings = {**SETTINGS, **environment}
    with (
        fake.running(),
        valkey(folder) as server,
        gateways(3, fake.url, server.url, folder, **settings) as running,
    ):
        yield Stage(fake, server, running)


def kill(gateway: Gateway) -> None:
    """Its process; there is another one at once, which knows nothing."""
    (worker,) = workers_of(gateway.process)
    os.kill(worker, signal.SIGKILL)


def frames(*lines: bytes) -> bytes:
    """The events of the model server's lines."""
    return b"".join(b"id: %d\ndata: %b\n" % (number, text) for number, text in enumerate(lines, 1))


WHOLE = frames(*HALF, *REST)


def answer_in(body: bytes) -> bytes:
    """What is part of the answer, and not about it, byte by byte."""
    return b"".join(event + b"\n\n" for event in body.split(b"\n\n") if event.startswith(b"id: "))


async def begun(client: httpx.AsyncClient, home: Gateway, model: str) -> str:
    """The path of an answer."""
    sent = await client.post(f"{home.url}/chat", json=question(model), headers=ASYNC)
    assert sent.status_code == 202
    return str(sent.headers["location"])


class Reader:
    """Reads an answer in a task of its own."""

    def __init__(self, client: httpx.AsyncClient, url: str, after: int = 0) -> None:
        self.body = b""
        self._task = asyncio.create_task(self._read(client, url, after))

    async def _read(self, client: httpx.AsyncClient, url: str, after: int) -> None:
        async with client.stream("GET", url, params={"after": after}) as response:
            assert response.status_code == 200
            async for piece in response.aiter_raw():
                self.body += piece

    @property
    def answer(self) -> bytes:
        return answer_in(self.body)

    async def has(self, expected: bytes) -> None:
        await until(lambda: self._task.done() or self.answer == expected, f"{self.body!r} is {expected!r}")
        assert self.answer == expected

    async def ends(self) -> bytes:
        async with asyncio.timeout(30):
            await self._task
        return self.answer
