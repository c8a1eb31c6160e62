"""Requests and the queue while servers come and go."""

import asyncio
from collections.abc import Awaitable, Sequence
from math import inf
from typing import cast

import httpx
import pytest

from gateway import state
from gateway.admission.gauges import Gauges
from gateway.admission.ledger import Ledger
from gateway.backends import group, pool
from gateway.backends.client import UpstreamAnswer
from gateway.backends.listing import LoadedModel
from gateway.backends.pool import Pool
from gateway.errors import UpstreamTimeout
from gateway.settings import Settings
from gateway.telemetry.metrics import SLOTS, child
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.unit.gateway.in_process import running

BOTH = ["127.0.0.2", "127.0.0.3"]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of every name, where nobody listens."""
    addresses = [*BOTH]

    async def looked_up(host: str, port: int) -> Sequence[str]:
        return list(addresses)

    monkeypatch.setattr(group, "addresses", looked_up)
    monkeypatch.setattr(pool, "LOOKUP_SECONDS", 0.05)
    return addresses


async def servers(models: Pool, count: int) -> None:
    async with asyncio.timeout(10):
        while len(models.backends) != count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_requests_at_a_server_whose_address_is_gone_go_elsewhere_if_it_does_not_respond(
    found: list[str],
) -> None:
    models = Pool(Settings(ollama_urls="http://models:1"))
    watching = asyncio.create_task(models.watch())
    await servers(models, 2)
    _, second = models.backends
    never = cast(Awaitable[UpstreamAnswer], asyncio.Event().wait())
    waiting = asyncio.create_task(second.unless_lost(never, inf, lambda: len(models.backends) == 1))
    await asyncio.sleep(0)
    found.remove("127.0.0.3")
    await servers(models, 1)
    with pytest.raises(UpstreamTimeout):
        await asyncio.wait_for(waiting, 20)
    async with asyncio.timeout(10):
        while second in models._watches:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    watching.cancel()
    await asyncio.wait({watching})
    await models.aclose()


async def test_a_server_whose_address_is_gone_has_no_slots(found: list[str]) -> None:
    models = Pool(Settings(ollama_urls="http://models:1"))
    watching = asyncio.create_task(models.watch())
    await servers(models, 2)
    watching.cancel()
    await asyncio.wait({watching})
    models.backends[1].loaded = (LoadedModel("m:latest", 1, 1, 0),)

    class Idle:
        def turns(self) -> Sequence[object]:
            return ()

        def free(self, server: str, model: str, slots: int) -> int:
            return slots

    gauges = Gauges(cast(Ledger, Idle()), models)
    gauges.update()
    free = child(SLOTS, models.backends[1].name, "m:latest", "free")
    assert free._value.get() > 0
    models.backends = models.backends[:1]
    gauges.update()
    assert free._value.get() == 0


@pytest.mark.usefixtures("logging_as_before")
async def test_whoever_waits_begins_as_soon_as_a_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "COUNT_SECONDS", 10**6)
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with FakeOllama().running() as first, FakeOllama().running() as second:
        first.answer("m", line(), Do.HANG)
        urls = f"{first.url} name=first, {second.url} name=second"
        async with (
            running(first.url, ollama_urls=urls, slots=1) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as client,
            asyncio.timeout(30),
        ):
            holding = asyncio.create_task(client.post("/chat", json=question))
            while not first.answering:  # noqa: ASYNC110 - a fake tells nobody
                await asyncio.sleep(0.01)
            waiting = asyncio.create_task(client.post("/chat", json=question))
            while not (await client.get("/queue")).json()["waiting"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            second.answer("m", DONE)
            assert (await waiting).status_code == 200
            holding.cancel()


@pytest.mark.parametrize("first", [[BOTH[0]], [BOTH[1]], BOTH])
async def test_gateways_that_share_their_state_agree_on_the_names_of_servers(
    found: list[str], first: list[str]
) -> None:
    """Whichever address each of them has seen first."""
    found[:] = first
    models = Pool(Settings(ollama_urls="http://models:1", shared_url="valkey://127.0.0.1:1"))
    watching = asyncio.create_task(models.watch())
    names = {f"ollama@{address}" for address in first}
    async with asyncio.timeout(10):
        while {backend.name for backend in models.backends} != names:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)
    found[:] = BOTH
    await servers(models, 2)
    assert {backend.name for backend in models.backends} == {f"ollama@{address}" for address in BOTH}
    watching.cancel()
    await asyncio.wait({watching})
    await models.aclose()
