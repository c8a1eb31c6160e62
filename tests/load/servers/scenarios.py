"""How a model server fails under load and comes back, and what the clients see of it."""

import asyncio
import signal
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.load.servers.clients import CLIENTS, Report, asking
from tests.load.servers.fleet import SLOTS, Member, Stack
from tests.load.servers.proxy import Fault

# The bar: from a server's being up again to its first request.
MOST_SECONDS_TO_RETURN = 15
GIVE_UP_SECONDS = 60

# Makes a server fail for so many seconds.
Failing = Callable[[Member, float], Awaitable[None]]


HEAD = (
    "| | answers | begun, failed | lost | wrong | load returns, s | most at once | sent again "
    "| median wait, s | longest, s |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


class Plan(NamedTuple):
    """For `total` seconds clients ask; each `every` seconds another server fails for `seconds`. Its load has
    to return within `to_return` seconds.
    """

    failing: Failing
    seconds: float
    every: float
    total: float
    to_return: float = MOST_SECONDS_TO_RETURN


@dataclass
class Result:
    """`returns` are the seconds from each healing to the server's first request, None if there was none."""

    plan: Plan
    report: Report
    returns: list[float | None] = field(default_factory=list)
    most_at_once: int = 0
    failovers: Counter[str] = field(default_factory=Counter)

    @property
    def problems(self) -> list[str]:
        found = [f"lost: {text}" for text in self.report.lost]
        found += [f"wrong: {text}" for text in self.report.wrong]
        found += [
            f"load returned after {seconds} s"
            for seconds in self.returns
            if seconds is None or seconds > self.plan.to_return
        ]
        if self.most_at_once > SLOTS:
            found.append(f"{self.most_at_once} answers at once at a server with {SLOTS} slots")
        return found

    def row(self) -> str:
        report = self.report
        returns = ", ".join("never" if each is None else f"{each:.1f}" for each in self.returns)
        waits = sorted(report.waits) or [0.0]
        cells = (
            report.whole,
            report.begun_and_failed,
            len(report.lost),
            len(report.wrong),
            returns,
            self.most_at_once,
            sum(self.failovers.values()),
            f"{statistics.median(waits):.1f}",
            f"{waits[-1]:.1f}",
        )
        return " | ".join(map(str, cells))


async def killed(member: Member, seconds: float) -> None:
    """Started again after some seconds."""
    member.proxy.close()
    member.kill()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(member.start)
    member.proxy.open()


async def stopped(member: Member, seconds: float) -> None:
    member.signal(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    member.signal(signal.SIGCONT)


def faulty(fault: Fault) -> Failing:
    async def failing(member: Member, seconds: float) -> None:
        member.proxy.fault = fault
        await asyncio.sleep(seconds)
        member.proxy.fault = Fault.NONE

    return failing


async def suffer(stack: Stack, plan: Plan, clients: int = CLIENTS) -> Result:
    result = Result(plan, Report())
    before = failovers(stack)
    for member in stack.members:
        member.proxy.most = 0
    async with asking(stack.url, clients) as result.report:
        await _until_all_are_asked(stack)
        began = time.monotonic()
        returning = []
        for number in count():
            await asyncio.sleep(began + number * plan.every - time.monotonic())
            if (number + 1) * plan.every > plan.total:
                break
            member = stack.members[number % len(stack.members)]
            returning.append(asyncio.create_task(_return(member, plan)))
        result.returns = list(await asyncio.gather(*returning))
    result.most_at_once = max(member.proxy.most for member in stack.members)
    result.failovers = failovers(stack) - before
    return result


async def _until_all_are_asked(stack: Stack) -> None:
    since = time.monotonic()
    while not all(member.seconds_until_asked(since) for member in stack.members):  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _return(member: Member, plan: Plan) -> float | None:
    """Seconds from the server's being up again to its first request."""
    await plan.failing(member, plan.seconds)
    healed_at = time.monotonic()
    while time.monotonic() < healed_at + GIVE_UP_SECONDS:
        if (passed := member.seconds_until_asked(healed_at)) is not None:
            return passed
        await asyncio.sleep(0.1)
    return None


def failovers(stack: Stack) -> Counter[str]:
    found: Counter[str] = Counter()
    text = httpx.get(f"{stack.gateway_url}/metrics", timeout=30).text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "gateway_failovers_total":
                found[sample.labels["reason"]] += int(sample.value)
    return found
