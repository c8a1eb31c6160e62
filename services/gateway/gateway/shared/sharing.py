"""What this gateway shares with others, put together."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from ..admission.accounts import MemoryAccounts
from ..admission.estimates import Estimates
from ..admission.schedule import Bounds
from ..backends.pool import Pool
from ..settings import Settings
from .accounts import SharedAccounts
from .breakers import SharedBreakers
from .ledger import SharedLedger
from .link import Link
from .loads import SharedLoads
from .members import Members
from .questions import Questions
from .shelf import SharedShelf

# How long the start waits for Valkey; without it, the gateway decides for itself at first.
FIRST_BEAT_SECONDS = 1.0

PAUSE_SECONDS = 1.0


class Sharing:
    """Created inside the event loop, before anything of it `run`s."""

    def __init__(
        self, url: str, settings: Settings, pool: Pool, estimates: Estimates, bounds: Bounds
    ) -> None:
        self.link = Link(url, settings.shared_prefix)
        self.members = Members(self.link, settings.shared_prefix, settings.workers)
        self.questions = Questions(self.link, self.members)
        self.shelf = SharedShelf(settings, self.link, self.members, self.questions)
        self.ledger = SharedLedger(self.link, self.members, pool, settings.affinity_slack, estimates, bounds)
        self.accounts = SharedAccounts(self.link, MemoryAccounts(workers=lambda: self.members.count))
        breakers = SharedBreakers(self.link, pool.backend)
        pool.share(SharedLoads(self.link), breakers.tell)

    async def run(self) -> None:
        """Until cancelled."""
        parts = self.link.run, self.members.run, self.ledger.run, self.shelf.share
        await asyncio.gather(*map(_keep_up, parts))

    async def wait_member(self) -> None:
        """Wait until this gateway is one of them, but not for long."""
        await asyncio.wait({self.members.joined}, timeout=FIRST_BEAT_SECONDS)

    async def aclose(self) -> None:
        await self.members.leave()


async def _keep_up(part: Callable[[], Awaitable[None]]) -> None:
    """Run a part until it ends, again after a defect: the others would go on as if it were there."""
    while True:
        try:
            return await part()
        except Exception:
            structlog.get_logger().exception("shared_part_failed")
            await asyncio.sleep(PAUSE_SECONDS)
