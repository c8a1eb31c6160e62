"""A gateway with two slots in front of a fake Ollama, and the keys of two callers.

There are two arrangements of it: with several gateways, whoever comes back reaches another one.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.queue.queues import PROMPT, Served, create_keys, served, until
from tests.integration.resume.gateways import edge, gateways
from tests.valkey import valkey

KEPT = {"GATEWAY_SLOTS": "2", "GATEWAY_HEARTBEAT": "15", "GATEWAY_EARLY_COMMIT": "2"}


@pytest.fixture(scope="module", params=["one gateway", "another gateway"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("resume")
    with served(folder, KEPT) if request.param == "one gateway" else _served_by_two(folder) as running:
        running.fake.answer("short", line("a"), line("b"), line("c"), DONE)
        running.fake.answer("halts", line("a"), line("b"), Do.WAIT, line("c"), DONE)
        running.fake.answer("hangs", Do.HANG)
        running.fake.answer("fails", line("a"), Do.WAIT, b'{"error":"out of memory"}\n')
        yield running


@contextmanager
def _served_by_two(folder: Path) -> Iterator[Served]:
    keys, fake = create_keys(folder), FakeOllama()
    settings = {**PROMPT, **KEPT, "GATEWAY_KEYS_FILE": str(folder / "keys")}
    with (
        fake.running(),
        valkey(folder) as server,
        gateways(2, fake.url, server.url, folder, **settings) as running,
        edge(running[0].url, running[1].url, folder) as url,
    ):
        yield Served(url, fake, running[0].process, keys, [running[1].process])


@pytest_asyncio.fixture
async def alice(gateway: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(gateway, "alice") as client:
        gateway.fake.pause()
        yield client
        gateway.fake.go_on()
        await until(lambda: not gateway.fake.answering, "nothing of this test is answered any more")


@pytest_asyncio.fixture
async def bob(gateway: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(gateway, "bob") as client:
        yield client


def _client(gateway: Served, name: str) -> httpx.AsyncClient:
    key = {"Authorization": f"Bearer {gateway.keys[name]}"}
    return httpx.AsyncClient(base_url=gateway.url, headers=key, timeout=30)
