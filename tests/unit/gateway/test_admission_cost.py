"""What admission costs a request that finds a free slot."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import FrameType
from typing import cast

from gateway.access.caller import Caller
from gateway.admission.accounts import MemoryAccounts
from gateway.admission.admission import Admission
from gateway.admission.estimates import Estimates
from gateway.admission.limits import RateLimiter
from gateway.admission.memory import MemoryLedger
from gateway.admission.schedule import Bounds
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

# Calls of functions, a request: counted, because a busy machine makes any time longer.
MOST_CALLS = 230
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


async def calls(admission: Admission, asked: Ask) -> int:
    """How many functions, Python's and C's, a request calls on its way through admission and out."""
    progress, count = Progress(), 0

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        async with admission.answer(asked, progress):
            pass
    finally:
        sys.setprofile(None)
    return count


async def test_a_free_slot_costs_few_calls() -> None:
    pool = cast(Pool, Models())
    estimates = Estimates()
    ledger = MemoryLedger(Slots(pool, 1), estimates, Bounds(100, 20, 300, 10))
    limiter = RateLimiter(MemoryAccounts(), estimates)
    admission = Admission(cast(Policy, pool), limiter, pool, ledger, estimates)
    async with running(admission, OTHERS):
        for _ in range(100):
            await calls(admission, ask("me"))
        found = await calls(admission, ask("me")) - await calls(admission, ask("me", works=False))
    print(f"{found} calls a request with a free slot")
    assert found < MOST_CALLS
    assert ledger.turns() == []
