"""Of several gateways that want a model loaded, one does it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.backends.loading import Key
from gateway.errors import GatewayError, Overloaded, UpstreamBusy, UpstreamFailed
from gateway.shared import loads as shared
from gateway.shared.link import Link
from gateway.shared.loads import SharedLoads
from tests.integration.queue.queues import until
from tests.unit.gateway.shared.links import running
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")

MODEL: Key = "m:latest", frozenset()
SMALL: Key = "m:latest", frozenset({("num_ctx", "2048")})


class Gateway:
    """Its loads last until the test ends them, with seconds, None or an error."""

    def __init__(self, server: Server) -> None:
        self.link = Link(server.url, "test")
        self.loads: list[asyncio.Future[float | None]] = []
        self._shared = SharedLoads(self.link)

    def want(self, key: Key = MODEL, age: float = 0) -> "asyncio.Task[float | None]":
        """Have the model loaded for a request that is so many seconds old."""
        since = asyncio.get_running_loop().time() - age
        return asyncio.ensure_future(self._shared.once("ollama", key, since, self._load))

    async def _load(self) -> float | None:
        load: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self.loads.append(load)
        return await load


@asynccontextmanager
async def gateways(server: Server, number: int = 3) -> AsyncIterator[list[Gateway]]:
    all_of_them = [Gateway(server) for _ in range(number)]
    async with running(*(gateway.link for gateway in all_of_them)):
        yield all_of_them


def loads(gateways: list[Gateway]) -> list[asyncio.Future[float | None]]:
    return [load for gateway in gateways for load in gateway.loads]


async def others_wait(server: Server, scripts: int) -> None:
    """Until so many scripts have run: each gateway has asked who loads."""

    def ran() -> int:
        commands: dict[str, dict[str, int]] = server.command("INFO", "commandstats")
        return commands.get("cmdstat_evalsha", {"calls": 0})["calls"]

    await until(lambda: ran() >= scripts, "every gateway has asked")


async def test_a_model_that_several_gateways_want_is_loaded_once(server: Server) -> None:
    async with gateways(server) as all_of_them:
        wanted = [gateway.want() for gateway in all_of_them]
        await others_wait(server, 3)
        (load,) = loads(all_of_them)
        load.set_result(7.5)
        assert await asyncio.gather(*wanted) == [7.5] * 3
        assert len(loads(all_of_them)) == 1


async def test_whoever_wants_it_after_its_end_has_it_loaded_again(server: Server) -> None:
    async with gateways(server, 2) as (one, other):
        first = one.want()
        await until(lambda: one.loads, "it loads")
        one.loads[0].set_result(7.5)
        await first
        second = other.want(age=1)
        await until(lambda: other.loads, "it loads, too")
        other.loads[0].set_result(0.1)
        assert await second == 0.1


async def test_other_options_are_another_load(server: Server) -> None:
    async with gateways(server, 2) as (one, other):
        wanted = [one.want(MODEL), other.want(SMALL)]
        await until(lambda: one.loads and other.loads, "both load")
        for load in loads([one, other]):
            load.set_result(1)
        await asyncio.gather(*wanted)


async def test_a_refusal_is_everybodys(server: Server) -> None:
    async with gateways(server) as all_of_them:
        wanted = [gateway.want() for gateway in all_of_them]
        await others_wait(server, 3)
        (load,) = loads(all_of_them)
        load.set_result(None)
        assert await asyncio.gather(*wanted) == [None] * 3


async def test_a_failure_is_told_to_all_who_wait_as_the_server_has_told_it(server: Server) -> None:
    async with gateways(server) as all_of_them:
        wanted = [gateway.want() for gateway in all_of_them]
        await others_wait(server, 3)
        (load,) = loads(all_of_them)
        failure = UpstreamBusy("too much")
        failure.upstream = 500, b'{"error":"too much"}'
        load.set_exception(failure)
        for error in await asyncio.gather(*wanted, return_exceptions=True):
            assert isinstance(error, UpstreamBusy)
            assert (error.message, error.upstream) == ("too much", (500, b'{"error":"too much"}'))
        assert len(loads(all_of_them)) == 1


async def test_a_failure_is_told_to_requests_that_were_waiting_elsewhere_and_not_to_later_ones(
    server: Server,
) -> None:
    async with gateways(server, 2) as (one, other):
        first = one.want()
        await until(lambda: one.loads, "it loads")
        one.loads[0].set_exception(UpstreamFailed("out of memory"))
        for failed in (first, other.want(age=60)):
            with pytest.raises(UpstreamFailed, match="out of memory"):
                await failed
        assert not other.loads
        later = other.want(age=0)
        await until(lambda: other.loads, "it tries again")
        other.loads[0].set_result(1)
        assert await later == 1


async def test_what_fails_at_one_gateway_for_its_own_reasons_is_tried_by_the_next(server: Server) -> None:
    async with gateways(server, 2) as (one, other):
        first = one.want()
        await until(lambda: one.loads, "it loads")
        second = other.want()
        await others_wait(server, 2)
        one.loads[0].set_exception(Overloaded("no descriptors are left"))
        with pytest.raises(Overloaded):
            await first
        await until(lambda: other.loads, "the other one loads")
        other.loads[0].set_result(1)
        assert await second == 1


async def test_a_load_that_is_given_up_is_taken_over_at_once(server: Server) -> None:
    async with gateways(server, 2) as (one, other):
        first = one.want()
        await until(lambda: one.loads, "it loads")
        second = other.want()
        await others_wait(server, 2)
        first.cancel()
        await until(lambda: other.loads, "the other one loads", shared.LEASE_SECONDS / 2)
        other.loads[0].set_result(1)
        assert await second == 1


async def test_the_load_of_a_gateway_that_dies_is_taken_over_by_one_of_the_others(server: Server) -> None:
    dead = Gateway(server)
    async with gateways(server, 2) as living:
        async with running(dead.link):
            lost = dead.want()
            await until(lambda: dead.loads, "it loads")
        dead.link.up = False
        lost.cancel()
        wanted = [gateway.want() for gateway in living]
        await until(lambda: loads(living), "another one loads")
        (load,) = loads(living)
        load.set_result(1)
        assert await asyncio.gather(*wanted) == [1, 1]


async def test_a_load_that_lasts_longer_than_the_lease_stays_its_gateways(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(shared, "RENEWAL_SECONDS", 0.02)
    async with gateways(server, 2) as both:
        wanted = [gateway.want() for gateway in both]
        await others_wait(server, 2 + 40)
        (load,) = loads(both)
        load.set_result(1)
        await asyncio.gather(*wanted)
        assert len(loads(both)) == 1


async def test_without_valkey_each_gateway_loads_by_itself(server: Server) -> None:
    gateway = Gateway(server)
    wanted = gateway.want()
    await until(lambda: gateway.loads, "it loads")
    gateway.loads[0].set_result(1)
    assert await wanted == 1


async def test_whoever_waits_loads_by_itself_when_valkey_dies(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LEASE_SECONDS", 60)
    async with gateways(server, 2) as both:
        wanted = [gateway.want() for gateway in both]
        await others_wait(server, 2)
        server.kill()
        await until(lambda: len(loads(both)) == 2, "both load")
        for load in loads(both):
            load.set_result(1)
        assert await asyncio.gather(*wanted) == [1, 1]


async def test_every_key_expires(server: Server) -> None:
    async with gateways(server, 1) as (gateway,):
        wanted = [gateway.want(key) for key in (MODEL, SMALL)]
        await until(lambda: len(gateway.loads) == 2, "both load")
        gateway.loads[0].set_exception(UpstreamFailed("out of memory"))
        with pytest.raises(GatewayError):
            await wanted[0]
        await gateway.link.command("PING")
        kept = server.keys()
        assert len(kept) == 2
        assert all(server.command("TTL", key) > 0 for key in kept)
        wanted[1].cancel()
