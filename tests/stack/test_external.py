"""The profile external: a model server that runs on the host, outside of containers."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.processes import BIN, ROOT, Process, free_port
from tests.stack.containers import MODEL, Containers, docker, inspect, reaches
from tests.stack.test_streams import ask_while, is_done


@pytest.fixture(scope="module")
def bridge() -> str:
    """The host's address that `host.docker.internal` stands for."""
    return docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")


@pytest.fixture(scope="module")
def elsewhere(bridge: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an engine on the host, as containers reach it."""
    port = free_port()
    settings = {"ENGINE_HOST": bridge, "ENGINE_PORT": str(port)}
    engine = Process([str(BIN / "engine"), "serve"], settings, tmp_path_factory.mktemp("engine") / "log")
    try:
        engine.wait_ready(f"http://{bridge}:{port}/api/version")
        yield f"http://host.docker.internal:{port}"
    finally:
        engine.stop()


def make(stack: Containers, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={**os.environ, **stack.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def settings(project: str, urls: str) -> Containers:
    port = str(free_port())
    environment = {
        "COMPOSE_PROJECT_NAME": project,
        "COMPOSE_PROFILES": "external",
        "OLLAMA_URLS": urls,
        "MODELS": MODEL,
        "PORT": port,
    }
    return Containers(f"http://127.0.0.1:{port}", environment)


@pytest.fixture(scope="module")
def external(elsewhere: str) -> Iterator[Containers]:
    """Started and stopped with the settings on the command line alone."""
    stack = settings("sluice-test-external", elsewhere)
    given = {name: stack.environment[name] for name in ("COMPOSE_PROJECT_NAME", "MODELS", "PORT")}
    on_command_line = replace(stack, environment=given)
    try:
        up = make(on_command_line, "up", "PROFILE=external", f"OLLAMA_URLS={elsewhere}")
        assert up.returncode == 0, up.stdout
        assert "The stack is up" in up.stdout
        yield stack
    finally:
        down = make(on_command_line, "down")
        assert down.returncode == 0, down.stdout
    assert not docker("network", "ls", "--quiet", "--filter", "name=sluice-test-external")
    stack.compose("down", "--volumes")


async def test_answers_stream_from_the_host(external: Containers) -> None:
    [events] = await ask_while(external, 1, 40, lambda: None)
    assert len(events) > 10
    assert is_done(events)
    assert "every check passed" in external.verify()


def test_the_missing_models_are_seen_to_there(external: Containers) -> None:
    [models] = external.compose("ps", "--all", "--quiet", "models").split()
    assert docker("wait", models) == "0"
    assert [line["event"] for line in external.logs("models")] == ["all_models_there"]


def test_the_doctor_passes_and_says_what_is_there(external: Containers, elsewhere: str) -> None:
    done = make(external, "doctor")
    assert done.returncode == 0, done.stdout
    assert f"a model server answers at {elsewhere}, version " in done.stdout
    assert f"with model servers elsewhere; pulled: {MODEL}" in done.stdout
    assert not re.search("^(fail|warn)", done.stdout, re.MULTILINE)


def test_the_doctor_says_what_to_set_where_nothing_answers(external: Containers, bridge: str) -> None:
    nobody = f"http://host.docker.internal:{free_port()}"
    stack = replace(external, environment={**external.environment, "OLLAMA_URLS": nobody})
    done = make(stack, "doctor")
    assert done.returncode != 0
    [fail] = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert f"no model server answers at {nobody}: the connection is refused" in fail
    assert f"OLLAMA_HOST=0.0.0.0 for it, or {bridge}" in fail


def test_nothing_is_started_where_nothing_answers() -> None:
    stack = settings("sluice-test-nobody", f"http://host.docker.internal:{free_port()}")
    done = make(stack, "up")
    assert done.returncode != 0
    assert "Nothing was started" in done.stdout
    assert not stack.compose("ps", "--all", "--quiet")


def test_one_of_several_may_be_down(external: Containers, elsewhere: str) -> None:
    both = f"http://host.docker.internal:{free_port()}, {elsewhere}"
    done = make(replace(external, environment={**external.environment, "OLLAMA_URLS": both}), "doctor")
    assert done.returncode == 0, done.stdout
    assert re.search("^warn +no model server answers", done.stdout, re.MULTILINE)


def test_only_the_gateway_has_a_way_out_and_it_does_not_listen_there(external: Containers) -> None:
    [gateway], [nginx] = external.containers("gateway"), external.containers("nginx")
    assert external.network("outside") in inspect(gateway)["NetworkSettings"]["Networks"]
    assert external.network("outside") not in inspect(nginx)["NetworkSettings"]["Networks"]
    url = f"http://{external.address(gateway, 'outside')}:8001/healthz"
    for network in ("host", external.network("outside")):
        assert not reaches(url, "--network", network)
    assert reaches(
        f"http://{external.address(gateway, 'inner')}:8001/healthz", "--network", f"container:{nginx}"
    )
