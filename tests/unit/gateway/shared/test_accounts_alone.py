"""Limits while Valkey is not there, and when it is back."""

import asyncio

import pytest

from gateway.limits import Limits, Window
from tests.integration.queue.queues import until
from tests.unit.gateway.shared.links import running
from tests.unit.gateway.shared.test_accounts import Gateway, gateways
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")

LIMITS = Limits((Window(4, 3600),), (Window(100, 3600),), concurrent=3)


async def in_flight(gateway: Gateway) -> int:
    return (await gateway.accounts.balance("alice", LIMITS)).in_flight


async def test_without_valkey_each_gateway_enforces_its_share_and_shows_it(server: Server) -> None:
    gateway = Gateway(server, workers=2)
    entries = [await gateway.accounts.enter("alice", LIMITS) for _ in range(3)]
    assert [entry.allowed for entry in entries] == [True, True, False]
    balance = await gateway.accounts.balance("alice", LIMITS)
    assert (balance.requests[0].window, balance.concurrent) == (Window(2, 3600), 2)


async def test_what_a_gateway_has_counted_with_the_others_counts_without_them(server: Server) -> None:
    async with gateways(server, 2) as (one, other):
        assert (await one.accounts.enter("alice", LIMITS)).balance.concurrent == 3
        await one.accounts.leave("alice", LIMITS, 30)
        server.kill()
        await until(lambda: not (one.link.up or other.link.up), "they notice it")
        balance = (await one.accounts.enter("alice", LIMITS)).balance
        assert (balance.requests[0].used, balance.tokens[0].used, balance.in_flight) == (2, 30, 1)
        balance = (await other.accounts.enter("alice", LIMITS)).balance
        assert (balance.requests[0].used, balance.tokens[0].used, balance.in_flight) == (1, 0, 1)


async def test_no_request_fails_while_valkey_stops_and_what_it_was_asked_meanwhile_counts_once(
    server: Server,
) -> None:
    async with gateways(server) as (gateway,):
        server.stop()
        asked = [gateway.accounts.enter("alice", LIMITS) for _ in range(3)]
        entries = await asyncio.gather(*asked)
        assert all(entry.allowed for entry in entries)
        assert (await gateway.accounts.balance("alice", LIMITS)).in_flight == 3
        for _ in range(2):
            await gateway.accounts.leave("alice", LIMITS, 1)
        server.go_on()
        await until(lambda: gateway.link.up, "it is back")
        assert await in_flight(gateway) == 1
        await gateway.accounts.leave("alice", LIMITS, 1)
        assert await in_flight(gateway) == 0
        assert not gateway.local.in_flight


async def test_what_ends_while_valkey_is_not_there_is_not_in_flight_for_ever(server: Server) -> None:
    async with gateways(server) as (gateway,):
        await gateway.accounts.enter("alice", LIMITS)
        server.stop()
        await until(lambda: not gateway.link.up, "it is noticed")
        await gateway.accounts.leave("alice", LIMITS, 1)
        server.go_on()
        await until(lambda: gateway.link.up, "it is back")
        assert await in_flight(gateway) == 0


async def test_an_end_that_is_lost_on_the_way_is_told_later(server: Server) -> None:
    async with gateways(server) as (gateway,):
        await gateway.accounts.enter("alice", LIMITS)
        server.command("REPLICAOF", "127.0.0.1", 1)
        await gateway.accounts.leave("alice", LIMITS, 1)
        await until(lambda: not gateway.link.up, "it is refused")
        server.command("REPLICAOF", "NO", "ONE")
        await until(lambda: gateway.link.up, "it is back")
        assert await in_flight(gateway) == 0


async def test_requests_that_are_older_than_the_connection_are_in_flight(server: Server) -> None:
    gateway = Gateway(server)
    await gateway.accounts.enter("alice", LIMITS)
    async with running(gateway.link):
        assert await in_flight(gateway) == 1


async def test_a_valkey_that_has_forgotten_everything_knows_what_is_in_flight(server: Server) -> None:
    async with gateways(server) as (gateway,):
        for _ in range(2):
            await gateway.accounts.enter("alice", LIMITS)
        server.kill()
        await until(lambda: not gateway.link.up, "it is noticed")
        assert (await gateway.accounts.enter("alice", LIMITS)).allowed
        server.start()
        await until(lambda: gateway.link.up, "it is back")
        assert await in_flight(gateway) == 3
        assert not (await gateway.accounts.enter("alice", LIMITS)).allowed
        for _ in range(3):
            await gateway.accounts.leave("alice", LIMITS, 1)
        assert await in_flight(gateway) == 0
