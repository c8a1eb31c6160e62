"""If one of three engines is killed or stopped, clients notice it only in answers that have begun."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.servers.fleet import Member, engines, in_front_of
from tests.load.servers.scenarios import Plan, killed, stopped, suffer

PLANS = {
    "killed": Plan(killed, seconds=1, every=10, total=10),
    "stopped": Plan(stopped, seconds=9, every=12, total=12),
}


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Member]]:
    with engines(tmp_path_factory.mktemp("engines")) as started:
        yield started


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_server_that_fails_and_heals_loses_no_request(
    members: list[Member], plan: Plan, tmp_path: Path
) -> None:
    with in_front_of(members, tmp_path) as stack:
        result = asyncio.run(suffer(stack, plan, clients=20))
    assert result.problems == []
    assert result.report.whole
