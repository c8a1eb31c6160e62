"""Three gateways that act as one, with the profile `shared`."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tests.processes import wait_until
from tests.stack.containers import Containers, docker, inspect, reaches, running
from tests.stack.test_hardening import status
from tests.stack.test_streams import ask_while, is_done, question

GATEWAYS = 3
LIMIT = 20
URL = "/shared/url"

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Together:
    """`key` has no limits, `limited` one of LIMIT requests an hour."""

    stack: Containers
    key: str
    limited: str

    def total(self, metric: str) -> float:
        """The sum over all gateways."""
        return sum(self.stack.metric(one, 8001, metric) for one in self.stack.containers("gateway"))

    def all_connected(self, workers: int = GATEWAYS) -> bool:
        """Whether so many share their state, and exactly one decides."""
        try:
            connected, schedulers = (self.total(f"gateway_shared_{name}") for name in ("up", "scheduler"))
            known = {
                self.stack.metric(one, 8001, "gateway_shared_gateways")
                for one in self.stack.containers("gateway")
            }
        except AssertionError:
            return False  # one of them does not listen yet
        return (connected, schedulers, known) == (workers, 1, {workers})

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.get(f"{self.stack.url}{path}", headers=headers, timeout=30, trust_env=False).json()


@pytest.fixture(scope="module")
def launched() -> Iterator[Together]:
    profiles = {"COMPOSE_PROFILES": "embedded,shared"}
    with running(COMPOSE_PROJECT_NAME="sluice-test-sharing", **profiles) as (stack, _):
        limited = stack.make_limited_key("limited", "--requests", f"{LIMIT}/h")
        yield Together(stack, stack.make_limited_key("any"), limited)


@pytest.fixture
def together(launched: Together) -> Together:
    launched.stack.compose("up", "--detach", "--wait", "--scale", f"gateway={GATEWAYS}")
    wait_until(launched.all_connected, 60, "three gateways share their state")
    # Each of them has read the keys, and nginx knows all of them.
    asked = f"{launched.stack.url}/usage"
    headers = {"Authorization": f"Bearer {launched.key}"}
    found: list[str] = []

    def is_known() -> bool:
        for _ in range(2 * GATEWAYS):
            answer = httpx.get(asked, headers=headers, timeout=30, trust_env=False)
            if answer.status_code != 200:
                return False
        found[:] = [line["upstream"] for line in launched.stack.logs("nginx")[-2 * GATEWAYS :]]
        return len(set(found)) == GATEWAYS and not any("," in upstream for upstream in found)

    wait_until(is_known, 60, "requests reach each of them")
    return launched


async def test_three_gateways_allow_exactly_the_requests_of_one_limit(together: Together) -> None:
    before = Counter({one: together.stack.answers(one) for one in together.stack.containers("gateway")})
    headers = {"Authorization": f"Bearer {together.limited}"}
    async with httpx.AsyncClient(
        base_url=together.stack.url, headers=headers, timeout=120, trust_env=False
    ) as client:
        answers = await asyncio.gather(
            *(client.post("/chat", json=question(1)) for _ in range(GATEWAYS * LIMIT))
        )
        usage = (await client.get("/usage")).json()
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: LIMIT, 429: (GATEWAYS - 1) * LIMIT}
    served = {one: together.stack.answers(one) - before[one] for one in before}
    assert min(served.values()) > 0, "one of them has not been asked"
    [window] = usage["limits"]["requests"]
    assert (window["used"], window["limit"]) == (LIMIT, LIMIT)


async def test_streams_do_not_notice_that_valkey_is_killed_and_comes_back(together: Together) -> None:
    stack = together.stack
    [valkey] = stack.containers("valkey")

    def kill_and_start() -> None:
        docker("kill", valkey)
        wait_until(lambda: together.total("gateway_shared_up") == 0, 30, "all have noticed it")
        ready = together.get("/readyz")
        assert ready["status"] == "ready"
        assert ready["shared"]
        while_away.append(asyncio.run(ask_while(stack, 1, 5, lambda: None, together.key))[0])
        docker("start", valkey)
        wait_until(together.all_connected, 60, "they share their state again")

    while_away: list[list[str]] = []
    answers = await ask_while(stack, 12, 150, kill_and_start, together.key)
    assert [is_done(events) for events in answers] == [True] * 12
    assert [is_done(events) for events in while_away] == [True]
    assert "shared" not in together.get("/readyz")
    wait_until(lambda: stack.busy_slots() == 0, 10, "all slots are free")
    assert together.get("/queue") == {"running": [], "waiting": []}


async def test_an_answer_is_read_on_at_every_gateway(together: Together) -> None:
    headers = {"Authorization": f"Bearer {together.key}"}
    async with httpx.AsyncClient(
        base_url=together.stack.url, headers=headers, timeout=120, trust_env=False
    ) as client:
        prefer = {"Prefer": "respond-async"}
        begun = await client.post("/chat", json=question(40), headers=prefer)
        assert begun.status_code == 202
        bodies = [(await client.get(begun.headers["Location"])).text for _ in range(2 * GATEWAYS)]
    asked = {line["upstream"] for line in together.stack.logs("nginx")[-2 * GATEWAYS :]}
    assert len(asked) == GATEWAYS
    events = [[event for event in body.split("\n\n") if event.startswith("id: ")] for body in bodies]
    assert len(events[0]) > 10
    assert is_done(events[0])
    assert all(each == events[0] for each in events)


def test_workers_share_their_state_too(together: Together) -> None:
    several = replace(together.stack, environment={**together.stack.environment, "GATEWAY_WORKERS": "2"})
    several.compose("up", "--detach", "--wait", "--scale", "gateway=2")
    wait_until(lambda: together.all_connected(4), 60, "four workers of two gateways share their state")
    [first, _] = several.containers("gateway")
    log = docker("logs", first)
    assert "share nothing" not in log


def test_valkey_is_hardened_and_only_gateways_reach_it(together: Together) -> None:
    stack = together.stack
    [valkey] = stack.containers("valkey")
    got = status(valkey)
    assert "0" not in got["Uid"].split() + got["Gid"].split()
    assert {got[kind] for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert got["NoNewPrivs"] == "1"
    assert inspect(valkey)["HostConfig"]["ReadonlyRootfs"]
    assert not any((inspect(valkey)["NetworkSettings"]["Ports"] or {}).values())
    # It has no address where anybody else is, and answers nobody who does not know the password.
    assert set(inspect(valkey)["NetworkSettings"]["Networks"]) == {stack.network("shared")}
    for name in ("nginx", "engine"):
        [other] = stack.containers(name)
        assert stack.network("shared") not in inspect(other)["NetworkSettings"]["Networks"]
    assert docker("exec", valkey, "valkey-cli", "get", "sluice:epoch").startswith("NOAUTH")
    address = stack.address(valkey, "shared")
    assert not reaches(f"http://{address}:6379/", "--network", "host")


def test_the_password_is_readable_for_its_users_only_and_shown_nowhere(together: Together) -> None:
    stack = together.stack
    gateway, [valkey] = stack.containers("gateway")[0], stack.containers("valkey")
    files = docker("exec", gateway, "stat", "-c", "%a %u %n", "/shared", URL, "/shared/users.acl")
    assert files.splitlines() == [
        "700 10001 /shared", f"600 10001 {URL}", "600 10001 /shared/users.acl",
    ]  # fmt: skip
    password = docker("exec", gateway, "cat", URL).rpartition("@")[0].rpartition(":")[2]
    assert len(password) == 64
    assert password not in docker("exec", valkey, "cat", "/shared/users.acl")
    assert password not in stack.compose("logs")
    for container in (gateway, valkey):
        assert password not in docker("inspect", container)


def test_the_password_stays_when_the_stack_is_started_again(together: Together) -> None:
    gateway = together.stack.containers("gateway")[0]
    before = docker("exec", gateway, "cat", URL)
    together.stack.compose("up", "--detach", "--wait", "--force-recreate", "valkey-password", "valkey")
    assert docker("exec", gateway, "cat", URL) == before
    wait_until(together.all_connected, 60, "the gateways are let in")


def test_without_the_profile_nothing_is_shared_and_nobody_warns(stack: Containers) -> None:
    [gateway] = stack.containers("gateway")
    assert "shared" not in httpx.get(f"{stack.url}/readyz", trust_env=False).json()
    code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8001/metrics').read().decode())"
    assert "\ngateway_shared_" not in stack.python(gateway, code)
    assert "shared" not in stack.compose("logs", "gateway")
    assert "valkey" not in stack.compose("ps", "--all", "--services")
