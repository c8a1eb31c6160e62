"""Refuses requests beyond their caller's limits, and charges what an answer has used at its end."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..access.caller import Caller
from ..ask.ask import Ask
from ..ask.waiting import Used, Waiting
from ..dialects.rate_limit import Quota
from ..errors import GatewayError, QueueFull, RateLimited
from ..names import requested_name
from ..telemetry.metrics import REFUSALS, child
from .accounts import Accounts, Balance, Level, Unit
from .estimates import Estimates

# When one of the requests in flight ends is unknown. OpenAI's and Anthropic's clients try twice more.
CONCURRENT_RETRY_SECONDS = 5


class RateLimiter:
    def __init__(self, accounts: Accounts, estimates: Estimates) -> None:
        self._accounts = accounts
        self._estimates = estimates

    async def balance(self, caller: Caller) -> Balance:
        return await self._accounts.balance(caller.identity, caller.limits)

    @asynccontextmanager
    async def admitted(self, ask: Ask, waiting: Waiting) -> AsyncIterator[None]:
        """Count a request for as long as it takes, and tell its client what is left. Raises RateLimited.

        Only what makes a model work is limited.
        """
        if not ask.route.operation:
            yield
            return
        allowed, balance = await self._accounts.enter(ask.caller.identity, ask.caller.limits)
        if quotas := _quotas(balance):
            waiting.add_headers(ask.route.api.limit_headers(quotas))
        if not allowed:
            refusal = _refusal(balance)
            child(REFUSALS, refusal.reason).inc()
            raise refusal
        counted = _Counted(self._accounts, self._estimates, ask, waiting)
        # The client may send its next request as soon as it has the whole answer.
        waiting.when_sent(counted.leave)
        try:
            yield
        except QueueFull:
            # It has got nothing. A client that tries again as it is told must not use up its limit by it.
            await counted.take_back()
            raise
        except GatewayError:
            counted.failed = True
            raise
        finally:
            await counted.leave()


class _Counted:
    """A request that has entered and has to leave, once."""

    def __init__(self, accounts: Accounts, estimates: Estimates, ask: Ask, waiting: Waiting) -> None:
        self._accounts = accounts
        self._estimates = estimates
        self._ask = ask
        self._waiting: Waiting | None = waiting
        self.failed = False

    async def leave(self) -> None:
        waiting, self._waiting = self._waiting, None  # each refers to the other: a cycle
        if waiting:
            tokens = self._tokens(waiting.tokens())
            caller = self._ask.caller
            await self._accounts.leave(caller.identity, caller.limits, tokens)

    async def take_back(self) -> None:
        if self._waiting:
            self._waiting = None
            caller = self._ask.caller
            await self._accounts.take_back(caller.identity, caller.limits)

    def _tokens(self, used: Used) -> int:
        if self.failed and used.prompt is None and not used.output:
            return 0  # upstream has refused or failed: the model has generated nothing
        model = requested_name(self._ask.model or "")
        return round(self._estimates.used(model, used, self._ask.prompt_estimate))


def _quotas(balance: Balance) -> list[Quota]:
    """Of each unit's windows the one with the least left."""
    tightest = (
        (unit, min(levels, key=lambda level: (level.remaining, -level.reset)))
        for unit, levels in _by_unit(balance)
        if levels
    )
    return [Quota(unit, level.window.amount, level.remaining, level.reset) for unit, level in tightest]


def _refusal(balance: Balance) -> RateLimited:
    reached = [(unit, level) for unit, levels in _by_unit(balance) for level in levels if level.wait]
    if not reached:
        return RateLimited(
            f"too many requests at the same time: the limit is {balance.concurrent}; "
            "wait until one of them has ended",
            "concurrent",
            CONCURRENT_RETRY_SECONDS,
        )
    unit, level = max(reached, key=lambda one: one[1].wait)
    seconds = math.ceil(level.wait)
    message = f"too many {unit}: the limit is {level.window}; try again after {seconds} s"
    return RateLimited(message, unit, seconds)


def _by_unit(balance: Balance) -> tuple[tuple[Unit, tuple[Level, ...]], ...]:
    return ("requests", balance.requests), ("tokens", balance.tokens)
