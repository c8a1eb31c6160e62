"""What admission costs a request that finds a free slot."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import cast

from gateway.access.caller import Caller
from gateway.admission.accounts import MemoryAccounts
from gateway.admission.admission import Admission
from gateway.admission.estimates import Estimates
from gateway.admission.limits import RateLimiter
from gateway.admission.memory import Bounds, MemoryLedger
from gateway.admission.slots import Slots
from gateway.ask.ask import Ask
from gateway.ask.waiting import Status, Used
from gateway.backends.choice import Offer
from gateway.backends.pool import Pool
from gateway.backends.speed import Speed
from gateway.errors import GatewayError
from gateway.policy.policy import Policy
from gateway.routes.table import CHAT_ROUTE
from tests.unit.gateway.bodies import read_fields

# Of processor time, a request.
MOST_MICROSECONDS = 40
REQUESTS = 2000
# Callers with requests in flight, besides the one that is measured.
OTHERS = 6
OFFER = Offer("ollama", slots=8, models_at_once=1, is_loaded=True)
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'


class Models:
    """A model server with free slots, which is the whole pool, and a policy without rules."""

    def __init__(self) -> None:
        self.backends = (self,)
        self.learned = Speed()

    async def check(self, ask: Ask) -> None:
        pass

    def offers(self, model: str) -> tuple[Offer]:
        return (OFFER,)

    def backend(self, name: str) -> "Models":
        return self

    def speed(self, model: str) -> Speed:
        return self.learned

    async def ask(self, backend: object, ask: Ask, waiting: object, can_move: object) -> None:
        pass

    @asynccontextmanager
    async def answer(self, ask: Ask, waiting: object) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def reading(self, answer: None) -> AsyncIterator[None]:
        yield

    def has(self, model: str) -> bool:
        return True


class Progress:
    request_id = "id"
    accepted_at: float | None = None

    def add_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None: ...

    def accepted(self) -> None:
        pass

    def waits_for(self, status: Callable[[], Status | None]) -> None:
        raise AssertionError("there is a free slot")

    def waited(self, seconds: float) -> None:
        pass

    def loaded(self, backend: str, seconds: float) -> None:
        pass

    def asked(self, backend: str) -> None:
        pass

    def tokens(self) -> Used:
        return Used(11, 3, complete=True)

    def when_sent(self, settle: Callable[[], Awaitable[None]]) -> None:
        pass

    def stop(self, reason: GatewayError) -> None:
        pass


def ask(name: str, *, works: bool = True) -> Ask:
    route = CHAT_ROUTE if works else CHAT_ROUTE.__class__("GET", "/api/tags", "read", CHAT_ROUTE.api)
    return Ask(route, Caller("127.0.0.1", name), "/api/chat", {}, BODY, read_fields(BODY))


@asynccontextmanager
async def running(admission: Admission, callers: int) -> AsyncIterator[None]:
    """Other callers have requests in flight."""
    if callers == 0:
        yield
        return
    async with (
        admission.answer(ask(f"caller {callers}"), Progress()),
        running(admission, callers - 1),
    ):
        yield


async def microseconds(admission: Admission, asked: Ask) -> float:
    """The median processor time of a request's way through admission and out."""
    progress, times = Progress(), []
    for _ in range(REQUESTS):
        began = time.thread_time_ns()
        async with admission.answer(asked, progress):
            pass
        times.append(time.thread_time_ns() - began)
    return median(times) / 1000


async def test_a_free_slot_costs_few_microseconds() -> None:
    pool = cast(Pool, Models())
    estimates = Estimates()
    ledger = MemoryLedger(Slots(pool, 1), estimates, Bounds(100, 20, 300, 10))
    limiter = RateLimiter(MemoryAccounts(), estimates, 1)
    admission = Admission(cast(Policy, pool), limiter, pool, ledger, estimates)
    async with running(admission, OTHERS):
        found = [
            await microseconds(admission, ask("me")) - await microseconds(admission, ask("me", works=False))
            for _ in range(5)
        ]
    print(f"{min(found):.1f} µs a request with a free slot, of {sorted(found)}")
    assert min(found) < MOST_MICROSECONDS
    assert ledger.turns() == []
