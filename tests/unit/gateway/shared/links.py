"""Links to Valkey, without a gateway around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.shared.link import Link
from tests.integration.queue.queues import until


@asynccontextmanager
async def running(*links: Link) -> AsyncIterator[None]:
    """They are up at the beginning."""
    tasks = [asyncio.ensure_future(link.run()) for link in links]
    try:
        await until(lambda: all(link.up for link in links), "they are connected")
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
