"""Admits requests: after the access checks, within their callers' limits, and when they have a slot."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ..ask.ask import Ask
from ..ask.fields import run_in_steps
from ..ask.waiting import Status, Waiting
from ..backends.backend import Backend
from ..backends.client import UpstreamAnswer
from ..backends.managing import Answer
from ..backends.pool import Pool
from ..errors import ModelNotFound, QueueFull, UpstreamFailed, UpstreamUnreachable
from ..names import requested_name
from ..policy.policy import Policy
from ..telemetry.metrics import FAILOVERS, QUEUE_SECONDS, REFUSALS, child
from .estimates import Estimates
from .ledger import Ledger
from .limits import RateLimiter
from .turn import Standing, Turn

# Failures after which another server may answer: one that had the model at the last poll may have lost it.
ELSEWHERE = (UpstreamFailed, ModelNotFound)

# A request that makes servers fail must not go through all. Those that it does not reach do not count.
MOST_ATTEMPTS = 3


class Admission:
    """Wraps the whole answer, whose end settles what was counted at its beginning and gives back its slot."""

    def __init__(
        self, policy: Policy, limiter: RateLimiter, pool: Pool, ledger: Ledger, estimates: Estimates
    ) -> None:
        self._policy = policy
        self._limiter = limiter
        self._pool = pool
        self._ledger = ledger
        self._estimates = estimates

    @asynccontextmanager
    async def answer(self, ask: Ask, waiting: Waiting) -> AsyncIterator[Answer]:
        """Raises GatewayError, as `Policy.check`, `RateLimiter`, `Ledger` and `Pool.ask`."""
        await self._policy.check(ask)
        if ask.changes:
            waiting.add_headers([(b"x-request-changed", ", ".join(ask.changes).encode())])
        try:
            async with self._limiter.admitted(ask, waiting), self._admitted(ask, waiting) as answer:
                yield answer
        except UpstreamFailed:
            ask.failed()
            raise

    @asynccontextmanager
    async def _admitted(self, ask: Ask, waiting: Waiting) -> AsyncIterator[Answer]:
        """The answer, with a slot if it needs one. Raises QueueFull."""
        if not self._takes_slot(ask):
            waiting.accepted()
            async with self._pool.answer(ask, waiting) as answer:
                yield answer
            return
        turn = await self._turn(ask, waiting)
        try:
            await self._wait(turn, waiting)
            backend, answer = await self._first_answer(turn, ask, waiting)
            first_byte = waiting.tokens().seconds
            async with backend.reading(answer):
                yield answer
            used = waiting.tokens()
            if ask.streams and used.complete:
                backend.speed(turn.model).learn(first_byte, used.output, used.seconds)
        finally:
            self._ledger.leave(turn)

    async def _first_answer(self, turn: Turn, ask: Ask, waiting: Waiting) -> tuple[Backend, UpstreamAnswer]:
        """The answer of the turn's server or, if that fails before it answers, of another one."""
        failures = 0

        def can_move() -> bool:
            return self._can_go_on(turn, failures + 1)

        while True:
            reason = "gone"
            if backend := self._pool.backend(turn.server):
                try:
                    return backend, await self._pool.ask(backend, ask, waiting, can_move)
                except ELSEWHERE as failure:
                    # One that cannot be reached has not got the request.
                    failures += not isinstance(failure, UpstreamUnreachable)
                    if not self._can_go_on(turn, failures):
                        raise
                    reason = failure.code
            child(FAILOVERS, turn.server, reason).inc()
            since = time.monotonic()
            self._ledger.enter_again(turn)
            waiting.waits_for(_queued(self._ledger, turn))
            try:
                await self._ledger.wait(turn)
            except QueueFull as refused:
                child(REFUSALS, refused.reason).inc()
                raise
            finally:
                waiting.waited((turn.started or time.monotonic()) - since)

    def _can_go_on(self, turn: Turn, failures: int) -> bool:
        """Whether another server can answer, after so many failures of servers that got the request."""
        tried = turn.avoided | {turn.server}
        return failures < MOST_ATTEMPTS and any(
            server.name not in tried for server in self._pool.servers(turn.model)
        )

    async def _wait(self, turn: Turn, waiting: Waiting) -> None:
        """Wait until the turn has a slot, and count the time. Raises QueueFull."""
        outcome = "left"
        try:
            await self._ledger.enter(turn)
            waiting.accepted()
            if not turn.is_running:
                waiting.waits_for(_queued(self._ledger, turn))
                await self._ledger.wait(turn)
            outcome = "admitted"
        except QueueFull as refused:
            outcome = "refused"
            child(REFUSALS, refused.reason).inc()
            raise
        finally:
            # Here and not at the end of the answer, which may be minutes later.
            seconds = (turn.started or time.monotonic()) - turn.entered
            waiting.waited(seconds)
            child(QUEUE_SECONDS, outcome).observe(seconds)

    def _takes_slot(self, ask: Ask) -> bool:
        """Whether the request makes an installed model work, which lists and management do not."""
        return bool(ask.route.operation and ask.model and self._pool.has(requested_name(ask.model)))

    async def _turn(self, ask: Ask, waiting: Waiting) -> Turn:
        model = requested_name(ask.model or "")
        turn = Turn(
            waiting.request_id,
            ask.caller.identity,
            model,
            waiting.tokens,
            waiting.stop,
            ask.load_options,
            ask.caller.name,
            ask.caller.weight,
            ask.prompt_estimate + self._estimates.output_cost(model),
            ask.prompt_estimate,
        )
        if len(self._pool.backends) > 1:
            turn.conversation = int.from_bytes(await run_in_steps(ask.conversation()))
        return turn


def _queued(ledger: Ledger, turn: Turn) -> Callable[[], Status | None]:
    """The status of a turn in the queue: a new one when its position changes, or its estimate a lot."""
    last: Status | None = None
    sent: Standing | None = None

    def status() -> Status | None:
        nonlocal last, sent
        ledger.update()
        standing = turn.standing
        if standing and (sent is None or standing.differs(sent)):
            sent, last = standing, Status("queued", standing._asdict())
        return last

    return status
