"""One queue and one set of slots for several gateways."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.admission.schedule import Bounds
from gateway.errors import CallerQueueFull, QueueFull
from tests.integration.queue.queues import until
from tests.unit.gateway.shared.gateways import BOUNDS, SLOTS, Gateway
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")

Gateways = list[Gateway]


@asynccontextmanager
async def three(server: Server, number: int = 3) -> AsyncIterator[Gateways]:
    gateways = [Gateway(server.url) for _ in range(number)]
    try:
        await together(gateways)
        yield gateways
    finally:
        for gateway in gateways:
            await gateway.end()


async def together(gateways: Gateways) -> None:
    """Wait until all know each other."""
    names = {gateway.link.member for gateway in gateways}
    await until(lambda: all(gateway.members.names == names for gateway in gateways), "they know each other")


def scheduler(gateways: Gateways) -> Gateway:
    (found,) = [gateway for gateway in gateways if gateway.members.is_scheduler]
    return found


def running(gateways: Gateways) -> int:
    return sum(gateway.running for gateway in gateways)


async def test_together_they_run_as_much_as_one_would(server: Server) -> None:
    async with three(server) as gateways:
        requests = [gateway.ask("me") for gateway in gateways for _ in range(5)]
        await until(lambda: running(gateways) == SLOTS, "every slot is taken")
        for _ in range(len(requests) - SLOTS):
            await next(request for request in requests if request.turn.is_running).end()
            await until(lambda: running(gateways) == SLOTS, "the next one has the slot")


async def test_a_caller_with_one_request_waits_for_one_of_each_other(server: Server) -> None:
    """However many requests another has, and wherever they wait."""
    async with three(server) as gateways:
        greedy = [gateway.ask("greedy") for gateway in gateways for _ in range(20)]
        await until(lambda: running(gateways) == SLOTS, "every slot is taken")
        modest = gateways[2].ask("modest")
        await until(lambda: modest.turn.standing, "it has a place in the queue")
        for request in [request for request in greedy if request.turn.is_running][:2]:
            await request.end()
        await until(lambda: modest.turn.is_running, "it has a slot")


async def test_positions_are_those_among_all_gateways(server: Server) -> None:
    async with three(server) as gateways:
        for gateway in (*gateways, gateways[0]):
            gateway.ask("first")
        await until(lambda: running(gateways) == SLOTS, "every slot is taken")
        waiting = []
        for number in range(6):
            request = gateways[number % 3].ask(f"caller {number}")
            waiting.append(request)
            await until(lambda request=request: request.turn.standing, "it has a place")  # type: ignore[misc]
        await until(
            lambda: (
                [request.turn.standing and request.turn.standing[:2] for request in waiting]
                == [(position, 6) for position in range(1, 7)]
            ),
            "all know their places",
        )
        (first,) = [request for request in gateways[0].requests if request.turn.is_running][:1]
        await first.end()
        await until(lambda: waiting[0].turn.is_running, "the first one has a slot")
        await until(
            lambda: (
                [request.turn.standing and request.turn.standing[:2] for request in waiting[1:]]
                == [(position, 5) for position in range(1, 6)]
            ),
            "the others have moved up",
        )


@pytest.mark.parametrize(
    ("bounds", "refusal"),
    [(BOUNDS._replace(queue=2), QueueFull), (BOUNDS._replace(per_caller=2), CallerQueueFull)],
)
async def test_the_queue_has_its_bounds_over_all_gateways(
    server: Server, bounds: Bounds, refusal: type[QueueFull]
) -> None:
    gateways = [Gateway(server.url, bounds) for _ in range(2)]
    try:
        await together(gateways)
        for _ in range(SLOTS):
            gateways[0].ask("me")
        await until(lambda: running(gateways) == SLOTS, "every slot is taken")
        waiting = [gateway.ask("me") for gateway in gateways]
        await until(lambda: all(request.turn.standing for request in waiting), "two wait")
        refused = [gateway.ask("me") for gateway in gateways]
        await until(lambda: all(request.refused for request in refused), "the next ones are refused")
        assert [type(request.refused) for request in refused] == [refusal, refusal]
        assert isinstance(refused[1].refused, QueueFull)
        assert refused[1].refused.retry_after > 1
    finally:
        for gateway in gateways:
            await gateway.end()


@pytest.mark.parametrize("which", ["the scheduler", "another one"])
async def test_a_gateway_that_dies_gives_its_slots_back(server: Server, which: str) -> None:
    async with three(server) as gateways:
        decides = scheduler(gateways)
        dies = decides if which == "the scheduler" else next(each for each in gateways if each is not decides)
        for _ in range(SLOTS):
            dies.ask("me")
        await until(lambda: dies.running == SLOTS, "it has all slots")
        others = [gateway for gateway in gateways if gateway is not dies]
        waiting = [gateway.ask("me") for gateway in others for _ in range(3)]
        await until(lambda: all(request.turn.standing for request in waiting), "others wait")
        await dies.kill()
        gateways.remove(dies)
        await until(lambda: running(others) == SLOTS, "they have its slots")


async def test_a_new_scheduler_knows_what_runs_and_what_waits(server: Server) -> None:
    async with three(server) as gateways:
        first = scheduler(gateways)
        others = [gateway for gateway in gateways if gateway is not first]
        ran = [others[0].ask("me") for _ in range(SLOTS)]
        await until(lambda: running(others) == SLOTS, "every slot is taken")
        waiting = []
        for number in range(6):
            waiting.append(others[number % 2].ask(f"caller {number}"))
            await until(lambda: waiting[-1].turn.standing, "it waits")
        await first.kill()
        gateways.remove(first)
        await until(lambda: any(gateway.members.is_scheduler for gateway in others), "there is another one")
        await together(others)
        newcomer = others[1].ask("caller 0")
        await until(lambda: newcomer.turn.standing, "a newcomer waits")
        assert [request.turn.is_running for request in (*ran, *waiting)] == [True] * 4 + [False] * 6
        for at, request in enumerate(waiting):
            await next(each for gateway in others for each in gateway.requests if each.turn.is_running).end()
            await until(lambda request=request: request.turn.is_running, f"number {at} runs")  # type: ignore[misc]


async def test_a_scheduler_that_ends_leaves_no_pause(server: Server) -> None:
    """Its leases would last for seconds."""
    async with three(server) as gateways:
        first = scheduler(gateways)
        others = [gateway for gateway in gateways if gateway is not first]
        for _ in range(SLOTS):
            first.ask("me")
        await until(lambda: first.running == SLOTS, "every slot is taken")
        waiting = others[0].ask("me")
        await until(lambda: waiting.turn.standing, "another one waits")
        gateways.remove(first)
        await first.end()
        assert server.command("ZCARD", "test:members") == 2
        await until(lambda: waiting.turn.is_running, "it has a slot")


async def test_without_valkey_each_decides_over_its_share(server: Server) -> None:
    async with three(server, 2) as gateways:
        server.kill()
        await until(lambda: not any(gateway.link.up for gateway in gateways), "they notice", 5)
        for gateway in gateways:
            for _ in range(4):
                gateway.ask("me")
        await until(lambda: [gateway.running for gateway in gateways] == [2, 2], "each runs its share")
        server.start()
        await together(gateways)
        await gateways[0].requests[0].end()
        await gateways[0].requests[1].end()
        await until(lambda: running(gateways) == SLOTS, "all slots are used again")


async def test_what_waits_when_valkey_is_lost_goes_on(server: Server) -> None:
    async with three(server, 2) as gateways:
        requests = [gateway.ask("me") for gateway in gateways for _ in range(SLOTS)]
        await until(
            lambda: all(each.turn.is_running or each.turn.standing for each in requests), "all are in"
        )
        server.kill()
        await until(lambda: not any(gateway.link.up for gateway in gateways), "they notice", 5)
        while left := [request for request in requests if request.turn.is_running]:
            await left[0].end()
            await asyncio.sleep(0)
        assert not any(request.refused for request in requests)
        assert sum(gateway.running for gateway in gateways) == 0


async def test_a_valkey_that_hangs_is_noticed_within_a_second(server: Server) -> None:
    async with three(server, 2) as gateways:
        server.stop()
        try:
            since = asyncio.get_running_loop().time()
            request = gateways[0].ask("me")
            await until(lambda: request.turn.is_running, "it runs")
            assert asyncio.get_running_loop().time() - since < 3  # one on a machine that is not busy
        finally:
            server.go_on()
        await until(lambda: all(gateway.link.up for gateway in gateways), "it is there again")


async def test_nothing_stays_in_valkey(server: Server) -> None:
    async with three(server) as gateways:
        for gateway in gateways:
            gateway.ask("me")
        await until(lambda: running(gateways) == 3, "they run")
        kept = server.keys()
        assert kept
        assert all(server.command("PTTL", key) > 0 for key in kept)
    assert server.keys() == ["test:epoch"]


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_no_slot_is_given_twice_and_none_is_lost(server: Server, seed: int) -> None:
    choice = random.Random(seed)
    gateways = [Gateway(server.url) for _ in range(3)]
    await together(gateways)

    async def lives() -> None:
        gateway = choice.choice(gateways)
        gateway.ask(f"caller {choice.randrange(4)}", cost=choice.randrange(1, 500))

    async def ends() -> None:
        requests = [request for gateway in gateways for request in gateway.requests]
        if requests:
            request = choice.choice(requests)
            next(each for each in gateways if request in each.requests).requests.remove(request)
            await request.end()

    async def dies() -> None:
        gone = gateways.pop(choice.randrange(len(gateways)))
        await gone.kill()  # what it ran ends with it
        gateways.append(Gateway(server.url))
        await gateways[-1].members.joined

    for _ in range(300):
        await choice.choice([lives] * 30 + [ends] * 20 + [dies])()
        assert running(gateways) <= SLOTS
        await asyncio.sleep(choice.choice((0, 0, 0.001, 0.01)))
    await together(gateways)
    wanted = sum(len(gateway.requests) for gateway in gateways)
    await until(lambda: running(gateways) == min(SLOTS, wanted), "every slot is used")
    for gateway in gateways:
        await gateway.end()


async def test_what_waits_at_a_gateway_that_dies_gets_none_of_its_slots(server: Server) -> None:
    async with three(server) as gateways:
        decides = scheduler(gateways)
        dies = next(gateway for gateway in gateways if gateway is not decides)
        requests = [dies.ask("me") for _ in range(SLOTS + 5)]
        await until(lambda: dies.running == SLOTS, "it has all slots")
        await until(lambda: sum(bool(each.turn.standing) for each in requests) == 5, "others wait there")
        await dies.kill()
        gateways.remove(dies)
        waiting = decides.ask("other")
        await until(lambda: waiting.turn.is_running, "another one has a slot")
        assert not any(request.turn.is_running for request in requests[SLOTS:])
