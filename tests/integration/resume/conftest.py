"""A gateway with two slots in front of a fake Ollama, and the keys of two callers."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.fakes.ollama import DONE, Do, line
from tests.integration.queue.queues import Served, served, until

KEPT = {"GATEWAY_SLOTS": "2", "GATEWAY_HEARTBEAT": "15", "GATEWAY_EARLY_COMMIT": "2"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("resume"), KEPT) as running:
        running.fake.answer("short", line("a"), line("b"), line("c"), DONE)
        running.fake.answer("halts", line("a"), line("b"), Do.WAIT, line("c"), DONE)
        running.fake.answer("hangs", Do.HANG)
        running.fake.answer("fails", line("a"), Do.WAIT, b'{"error":"out of memory"}\n')
        yield running


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
