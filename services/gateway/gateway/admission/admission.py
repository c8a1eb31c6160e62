"""Admits requests after the access checks, within the limits of their callers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..ask.ask import Ask
from ..ask.waiting import Waiting
from ..backends.client import UpstreamAnswer
from ..backends.pool import Pool
from ..policy.policy import Policy
from .limits import RateLimiter


class Admission:
    """Wraps the whole answer, whose end settles what was counted at its beginning."""

    def __init__(self, policy: Policy, limiter: RateLimiter, pool: Pool) -> None:
        self._policy = policy
        self._limiter = limiter
        self._pool = pool

    @asynccontextmanager
    async def answer(self, ask: Ask, waiting: Waiting) -> AsyncIterator[UpstreamAnswer]:
        """Raises GatewayError, as `Policy.check`, `RateLimiter.admitted` and `Pool.answer`."""
        await self._policy.check(ask)
        async with self._limiter.admitted(ask, waiting) as headers:
            waiting.accepted(headers)
            async with self._pool.answer(ask, waiting) as answer:
                yield answer
