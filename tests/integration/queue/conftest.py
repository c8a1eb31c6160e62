"""One gateway with one slot and a short queue, and nginx in front of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.integration.programs import LIMITS, nginx
from tests.integration.queue.queues import PROMPT, Queue, Served, served
from tests.integration.queue.ways import BOUNDS


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("queue"), BOUNDS) as running:
        yield running


@pytest_asyncio.fixture
async def queue(gateway: Served) -> AsyncIterator[Queue]:
    async with gateway.queue() as new:
        yield new


@pytest.fixture(scope="module")
def edge(gateway: Served) -> Iterator[str]:
    port = int(gateway.url.rpartition(":")[2])
    with nginx(port, settings={**LIMITS, **PROMPT}) as (_, url):
        yield url
