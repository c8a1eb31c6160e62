"""The limits of several gateways, against one in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.admission.accounts import MemoryAccounts
from gateway.limits import NO_LIMITS, Limits, Window
from gateway.shared import accounts as shared
from gateway.shared.accounts import SharedAccounts
from gateway.shared.link import Link
from tests.unit.gateway.shared.links import running
from tests.valkey import Server, valkey

pytestmark = pytest.mark.usefixtures("logging_as_before")

FAR = 10**15  # a lease that does not end
LIMITS = {
    "free": NO_LIMITS,
    "narrow": Limits((Window(3, 60),), (Window(50, 60),), 2),
    "wide": Limits((Window(2, 60), Window(5, 3600)), (Window(100, 3600),)),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(started: Server) -> Server:
    """Nothing is in it."""
    started.command("FLUSHALL")
    return started


class Gateway:
    def __init__(self, server: Server, workers: int = 1) -> None:
        self.link = Link(server.url, "test")
        self.local = MemoryAccounts(workers=lambda: workers)
        self.accounts = SharedAccounts(self.link, self.local)


@asynccontextmanager
async def gateways(server: Server, number: int = 1) -> AsyncIterator[list[Gateway]]:
    """They are members for ever."""
    all_of_them = [Gateway(server, number) for _ in range(number)]
    async with running(*(gateway.link for gateway in all_of_them)):
        for gateway in all_of_them:
            await gateway.link.command("ZADD", gateway.link.key("members"), FAR, gateway.link.member)
        yield all_of_them


class Event(NamedTuple):
    """Something at one of two gateways, so many seconds after the one before."""

    gateway: int
    caller: str
    action: str
    tokens: int
    pause: int


EVENTS = st.builds(
    Event,
    st.integers(0, 1),
    st.sampled_from(list(LIMITS)),
    st.sampled_from(["enter", "enter", "leave", "take_back"]),
    st.integers(0, 80),
    st.just(0) | st.sampled_from([1, 58, 59, 60, 3540, 3600]) | st.integers(0, 4000),
)


class Clock:
    """Of Valkey's scripts, too."""

    now = 1_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    script = shared.SCRIPT.replace("redis.call('TIME')", "redis.call('MGET', 'seconds', 'microseconds')")
    assert script != shared.SCRIPT
    monkeypatch.setattr(shared, "SCRIPT", script)
    return Clock()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_several_gateways_decide_as_one_would_in_memory(
    server: Server, clock: Clock, events: list[Event]
) -> None:
    async def compare() -> None:
        memory = MemoryAccounts(clock)
        in_flight: Counter[tuple[int, str]] = Counter()
        async with gateways(server, 2) as both:
            await both[0].link.command("FLUSHALL")
            for gateway in both:
                await gateway.link.command("ZADD", "test:members", FAR, gateway.link.member)
            for event in events:
                clock.now += event.pause
                await both[0].link.command("MSET", "seconds", clock.now, "microseconds", 0)
                accounts, limits = both[event.gateway].accounts, LIMITS[event.caller]
                key = event.gateway, event.caller
                if event.action == "enter":
                    entry = await accounts.enter(event.caller, limits)
                    assert entry == await memory.enter(event.caller, limits)
                    if entry.allowed:
                        in_flight[key] += 1
                elif event.action == "leave" and in_flight[key]:
                    await accounts.leave(event.caller, limits, event.tokens)
                    await memory.leave(event.caller, limits, event.tokens)
                    in_flight[key] -= 1
                elif event.action == "take_back" and in_flight[key]:
                    await accounts.take_back(event.caller, limits)
                    await memory.take_back(event.caller, limits)
                    in_flight[key] -= 1
                balance = await accounts.balance(event.caller, limits)
                assert balance == await memory.balance(event.caller, limits)

    asyncio.run(compare())


async def test_a_limit_is_exact_however_many_ask_at_once_at_several_gateways(server: Server) -> None:
    limits = Limits((Window(30, 60),))
    async with gateways(server, 3) as all_of_them:
        entries = await asyncio.gather(
            *(gateway.accounts.enter("alice", limits) for gateway in all_of_them for _ in range(40))
        )
        assert sum(entry.allowed for entry in entries) == 30
        balance = await all_of_them[0].accounts.balance("alice", limits)
        assert (balance.requests[0].used, balance.in_flight, balance.total_requests) == (30, 30, 30)


async def test_requests_at_the_same_time_are_limited_over_all_gateways(server: Server) -> None:
    limits = Limits(concurrent=3)
    peak = busy = served = 0

    async def ask(gateway: Gateway) -> None:
        nonlocal peak, busy, served
        while not (await gateway.accounts.enter("alice", limits)).allowed:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        busy += 1
        peak = max(peak, busy)
        await asyncio.sleep(0.001)
        busy -= 1
        served += 1
        await gateway.accounts.leave("alice", limits, 1)

    async with gateways(server, 2) as both:
        await asyncio.gather(*(ask(gateway) for gateway in both for _ in range(50)))
        assert (peak, served) == (3, 100)
        for gateway in both:
            await gateway.link.command("PING")  # what has been sent before is done
        balance = await both[0].accounts.balance("alice", limits)
        assert (balance.in_flight, balance.total_tokens) == (0, 100)


async def test_a_dead_gateway_has_no_requests_in_flight(server: Server) -> None:
    limits = Limits(concurrent=1)
    async with gateways(server, 2) as (one, other):
        assert (await one.accounts.enter("alice", limits)).allowed
        assert not (await other.accounts.enter("alice", limits)).allowed
        server.command("ZADD", "test:members", 1, one.link.member)
        assert (await other.accounts.balance("alice", limits)).in_flight == 0
        assert (await other.accounts.enter("alice", limits)).allowed
        # It may have been taken for dead by mistake, and counts again when it is back.
        server.command("ZADD", "test:members", FAR, one.link.member)
        assert (await other.accounts.balance("alice", limits)).in_flight == 2


async def test_what_dead_gateways_leave_behind_is_removed(server: Server, clock: Clock) -> None:
    async with gateways(server, 2) as (one, other):
        server.command("MSET", "seconds", 1_000_000, "microseconds", 0)
        await one.accounts.enter("alice", NO_LIMITS)
        server.command("ZREM", "test:members", one.link.member)
        field = f"@{one.link.member}"
        await other.accounts.enter("alice", NO_LIMITS)
        assert server.command("HEXISTS", "test:limits:alice", field)
        server.command("SET", "seconds", 1_004_000)
        await other.accounts.enter("alice", NO_LIMITS)
        assert not server.command("HEXISTS", "test:limits:alice", field)


async def test_a_request_whose_client_leaves_while_it_enters_is_not_counted(server: Server) -> None:
    limits = Limits((Window(5, 60),), concurrent=5)
    async with gateways(server) as (gateway,):
        entering = [asyncio.ensure_future(gateway.accounts.enter("alice", limits)) for _ in range(8)]
        await asyncio.sleep(0)
        assert len(gateway.link._outbox) >= 8, "all of them have asked"
        for task in entering:
            task.cancel()
        await asyncio.wait(entering)

        async def balance() -> tuple[int, int]:
            found = await gateway.accounts.balance("alice", limits)
            return found.in_flight, found.requests[0].used

        await balance()  # all of them have been answered
        assert await balance() == (0, 0)
        assert not gateway.local.in_flight


async def test_a_request_costs_two_scripts_of_which_nobody_waits_for_the_second(server: Server) -> None:
    limits = LIMITS["narrow"]
    async with gateways(server) as (gateway,):
        server.command("CONFIG", "RESETSTAT")
        await gateway.accounts.enter("alice", limits)
        server.stop()
        try:
            leaving = gateway.accounts.leave("alice", limits, 7)
            with pytest.raises(StopIteration):
                leaving.send(None)
        finally:
            server.go_on()
        await gateway.link.command("PING")
        assert server.command("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 2
        balance = await gateway.accounts.balance("alice", limits)
        assert (balance.tokens[0].used, balance.in_flight) == (7, 0)


async def test_every_key_expires(server: Server) -> None:
    async with gateways(server) as (gateway,):
        for caller, limits in LIMITS.items():
            await gateway.accounts.enter(caller, limits)
        await gateway.accounts.leave("narrow", LIMITS["narrow"], 7)
        await gateway.accounts.take_back("wide", LIMITS["wide"])
        await gateway.link.command("PING")
        keys = set(server.keys()) - {"test:members"}
        assert sorted(keys) == ["test:limits:free", "test:limits:narrow", "test:limits:wide"]
        assert {server.command("TTL", key) for key in keys} <= {shared.KEEP, shared.KEEP - 1}


async def test_a_clock_that_is_set_back_makes_nobody_wait_longer_than_the_window(
    server: Server, clock: Clock
) -> None:
    limits = Limits((Window(1, 60),))
    async with gateways(server) as (gateway,):
        server.command("MSET", "seconds", 1_000_000, "microseconds", 0)
        await gateway.accounts.enter("alice", limits)
        server.command("SET", "seconds", 900_000)
        entry = await gateway.accounts.enter("alice", limits)
        assert (entry.allowed, entry.balance.requests[0].wait) == (False, 60)
        assert entry.balance.age == 0
        server.command("SET", "seconds", 900_060)
        assert (await gateway.accounts.enter("alice", limits)).allowed
