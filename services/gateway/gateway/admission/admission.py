"""Admits requests after the access checks, immediately: there is no concurrency limit yet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..ask.ask import Ask
from ..ask.waiting import Waiting
from ..backends.client import UpstreamAnswer
from ..backends.pool import Pool
from ..policy.policy import Policy


class Admission:
    """Wraps the whole answer, so that a limit would hold its slot here until the end."""

    def __init__(self, policy: Policy, pool: Pool) -> None:
        self._policy = policy
        self._pool = pool

    @asynccontextmanager
    async def answer(self, ask: Ask, waiting: Waiting) -> AsyncIterator[UpstreamAnswer]:
        """Raises GatewayError, as `Policy.check` and `Pool.answer`."""
        await self._policy.check(ask)
        waiting.accepted()
        async with self._pool.answer(ask, waiting) as answer:
            yield answer
