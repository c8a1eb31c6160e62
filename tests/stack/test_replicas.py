"""Replicas of the model server: each is reached at an address of its own, all under one name."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.processes import wait_until
from tests.stack.containers import MODEL, Containers, docker, inspect, reaches, running
from tests.stack.test_streams import ask_while, is_done

STAND_IN = "sluice-test-ollama"
# The engine in Ollama's place, started and checked as Ollama is. Of a name's addresses, Ollama takes any.
# This takes the last, which the C library sorts behind the container's own.
OLLAMA = """#!/bin/sh
host=$(getent ahostsv4 "${OLLAMA_HOST%:*}" | tail -n 1 | cut -d ' ' -f 1) port=${OLLAMA_HOST##*:}
case $1 in
    serve) ENGINE_HOST=$host ENGINE_PORT=$port exec engine serve ;;
    ls) exec python -c "import urllib.request as r; r.urlopen('http://$host:$port/api/tags', timeout=4)" ;;
esac
"""
DOCKERFILE = "FROM sluice-engine:0.1.0\nUSER 0:0\nCOPY --chmod=755 ollama /bin/ollama\n"
OVERRIDE = f"""
services:
  ollama:
    image: {STAND_IN}-in-the-stack
    build: {{args: {{OLLAMA: {STAND_IN}}}}}
"""


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Three replicas of the service ollama, with another program in Ollama's place."""
    folder = tmp_path_factory.mktemp("ollama")
    (folder / "ollama").write_text(OLLAMA)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "override.yaml").write_text(OVERRIDE)
    docker("compose", "--env-file", "/dev/null", "--profile", "embedded", "build", "--quiet", "engine")
    docker("build", "--quiet", "--tag", STAND_IN, str(folder))
    files = {"COMPOSE_FILE": f"compose.yaml:{folder / 'override.yaml'}", "COMPOSE_PROFILES": "cpu"}
    with running(COMPOSE_PROJECT_NAME="sluice-test-replicas", MODELS=MODEL, **files) as (stack, _):
        stack.compose("up", "--detach", "--wait", "--scale", "ollama=3", "ollama")
        yield stack


def found(stack: Containers) -> set[str]:
    """The addresses that the gateway finds under the model servers' name."""
    code = (
        "import socket; print(*{a[4][0] for a in socket.getaddrinfo('model-server', 11434, socket.AF_INET)})"
    )
    return set(stack.python(stack.containers("gateway")[0], code).split())


def test_every_ollama_listens_at_its_own_address_on_the_gateways_network_only(ollama: Containers) -> None:
    replicas, [gateway] = ollama.containers("ollama"), ollama.containers("gateway")
    addresses = {ollama.address(replica, "models") for replica in replicas}
    assert len(addresses) == 3
    assert found(ollama) == addresses
    for replica in replicas:
        inside = f"http://{ollama.address(replica, 'models')}:11434/api/version"
        assert reaches(inside, "--network", f"container:{gateway}")
        outside = f"http://{ollama.address(replica, 'egress')}:11434/api/version"
        for network in ("host", ollama.network("egress")):
            assert not reaches(outside, "--network", network)


def test_each_replicas_health_is_its_own(ollama: Containers) -> None:
    first, *others = ollama.containers("ollama")
    docker("kill", "--signal", "STOP", first)
    try:

        def health(container: str) -> str:
            return str(inspect(container)["State"]["Health"]["Status"])

        wait_until(lambda: health(first) == "unhealthy", 120, "the one that hangs is unhealthy")
        assert [health(other) for other in others] == ["healthy"] * 2
    finally:
        docker("kill", "--signal", "CONT", first)


def test_their_models_are_pulled_once_all_are_there(ollama: Containers) -> None:
    [models] = ollama.compose("ps", "--all", "--quiet", "models").split()
    assert docker("wait", models) == "0"


async def test_requests_are_shared_among_replicas_and_one_that_is_removed_is_forgotten() -> None:
    with running(COMPOSE_PROJECT_NAME="sluice-test-engines") as (stack, _):
        [gateway] = stack.containers("gateway")

        def known(count: int) -> Callable[[], bool]:
            return lambda: stack.metric(gateway, 8001, "gateway_backend_up") == count

        stack.compose("up", "--detach", "--wait", "--scale", "engine=3", "engine")
        await asyncio.to_thread(wait_until, known(3), 30, "the gateway has found all")
        answers = await ask_while(stack, 6, 60, lambda: None)
        assert [is_done(events) for events in answers] == [True] * 6
        asked = [line["backend"] for line in stack.logs("gateway") if line.get("route") == "/chat"]
        assert len(set(asked)) > 1, asked
        stack.compose("up", "--detach", "--scale", "engine=1", "engine")
        await asyncio.to_thread(wait_until, known(1), 60, "the gateway has forgotten the others")
        [events] = await ask_while(stack, 1, 20, lambda: None)
        assert is_done(events)
