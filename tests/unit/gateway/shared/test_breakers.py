"""Breakers that open and close at all gateways."""

import asyncio
from functools import partial

import msgspec
import pytest

from gateway.backends import polling
from gateway.backends.backend import Backend
from gateway.backends.breaker import FAILURES
from gateway.backends.client import Upstream
from gateway.shared.breakers import SharedBreakers
from gateway.shared.link import Link
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.queue.queues import until
from tests.unit.gateway.shared.links import running
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")


class Gateway:
    """It has two model servers."""

    def __init__(self, server: Server) -> None:
        self.link = Link(server.url, "test")
        self.changes = 0
        self.servers = {name: Backend(name, Upstream("http://127.0.0.1:1", 1), "m") for name in ("a", "b")}
        shared = SharedBreakers(self.link, self.servers.get)
        for name, backend in self.servers.items():
            backend.breaker.told = partial(shared.tell, name)
            backend.on_change = self._changed

    def _changed(self) -> None:
        self.changes += 1

    def breaks(self, name: str) -> None:
        for _ in range(FAILURES):
            self.servers[name].breaker.failed()

    @property
    def states(self) -> list[str]:
        return [backend.breaker.state for backend in self.servers.values()]


async def test_a_breaker_opens_and_closes_at_all_gateways(server: Server) -> None:
    gateways = one, other, third = [Gateway(server) for _ in range(3)]
    async with running(*(gateway.link for gateway in gateways)):
        one.breaks("a")
        await until(lambda: all(each.states == ["open", "closed"] for each in gateways), "it is open")
        # The change is noticed there, by those that wait for a server.
        assert other.changes
        other.servers["a"].breaker.succeeded()
        await until(lambda: all(each.states == ["closed", "closed"] for each in gateways), "it is closed")
        assert third.changes


async def test_of_what_gateways_tell_at_the_same_moment_the_same_counts_for_all(server: Server) -> None:
    one, other = [Gateway(server) for _ in range(2)]
    async with running(one.link, other.link):
        one.breaks("a")
        await until(lambda: other.states == ["open", "closed"], "it is open")
        one.servers["a"].breaker.succeeded()
        other.servers["a"].breaker.succeeded()
        other.breaks("a")
        assert one.states != other.states
        # Messages arrive in one order: after these each has got all others.
        one.breaks("b")
        await until(lambda: other.states[1] == "open", "one is heard")
        other.servers["b"].breaker.succeeded()
        await until(lambda: one.states[1] == "closed", "the other one is heard")
        assert one.states == other.states


async def test_what_nobody_can_understand_or_has_changes_nothing(server: Server) -> None:
    one, other = [Gateway(server) for _ in range(2)]
    async with running(one.link, other.link):
        for message in (b"nonsense", msgspec.msgpack.encode(["unknown", 1])):
            one.link.publish("test:breakers", message)
        one.breaks("b")
        await until(lambda: other.states == ["closed", "open"], "only what it has is open")


async def test_without_valkey_each_has_its_own(server: Server) -> None:
    one, other = [Gateway(server) for _ in range(2)]
    one.breaks("a")
    assert (one.states, other.states) == (["open", "closed"], ["closed", "closed"])


async def test_a_gateway_that_is_told_finds_out_at_once_how_the_server_is(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "POLL_SECONDS_MISSING", 0)
    fake = FakeOllama()
    fake.answer("m", DONE)
    with fake.running():
        backend = Backend("a", Upstream(fake.url, 5), "m")
        one, other = Gateway(server), Gateway(server)
        other.servers["a"] = backend
        async with running(one.link, other.link):
            watching = asyncio.ensure_future(backend.watch())
            await until(lambda: fake.polls and not backend.missing, "it is ready, and is polled seldom")
            polls = fake.polls
            one.breaks("a")
            await until(lambda: fake.polls > polls, "it is polled", polling.POLL_SECONDS_READY / 2)
            watching.cancel()
            await asyncio.wait({watching})
