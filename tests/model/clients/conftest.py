"""The clients of a stack with a real model, and of an nginx and a gateway in front of a fake Ollama.

The processes start once a session, because a start takes seconds.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.fakes.ollama import FakeOllama
from tests.integration.programs import nginx_and_gateway
from tests.integration.stacks import Running, started
from tests.model.clients.libraries import AsyncClients, Clients, async_clients_of, clients_of


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(scope="module")
def clients(stack: Running) -> Iterator[Clients]:
    with clients_of(stack.url) as all_three:
        yield all_three


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_clients(stack: Running) -> AsyncIterator[AsyncClients]:
    async with async_clients_of(stack.url) as all_three:
        yield all_three


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        yield server


@pytest.fixture(scope="session")
def edge_url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx_and_gateway(fake.url, tmp_path_factory.mktemp("edge")) as url:
        yield url


@pytest.fixture(scope="module")
def faked(edge_url: str) -> Iterator[Clients]:
    with clients_of(edge_url) as all_three:
        yield all_three


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_faked(edge_url: str) -> AsyncIterator[AsyncClients]:
    async with async_clients_of(edge_url) as all_three:
        yield all_three
