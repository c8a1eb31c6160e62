"""Whether model servers elsewhere answer, and what to do where one does not."""

import json

import pytest

from deploy.compose.checks.servers import check_servers
from tests.processes import free_port
from tests.unit.deploy.compose.machine import FakeStack, MakeSettings, Program, docker_info, levels_and_text

VERSION = (200, {"version": "0.32.15"})


@pytest.fixture(autouse=True)
def _no_image_yet(program: Program) -> None:
    """Containers reach this machine at 127.0.0.1."""
    program("docker", 'case "$*" in "network inspect"*) echo "fd00::1 127.0.0.1";; esac')


def test_a_server_that_answers_is_shown_with_its_version(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/version"] = VERSION
    url = f"http://host.docker.internal:{stack.port}"
    levels, text = levels_and_text(
        check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=f"{url} name=mine weight=2"), None)
    )
    assert levels == ["warn", "ok"]
    assert "from outside of containers" in text
    assert f"answers at {url}, version 0.32.15" in text


def test_without_addresses_it_is_the_ollama_on_this_machine(settings: MakeSettings) -> None:
    [server] = settings(COMPOSE_PROFILES="external").servers
    assert server.url == "http://host.docker.internal:11434"
    assert not settings().servers
    assert not list(check_servers(settings(), None))


def test_where_nothing_runs_it_says_how_to_make_it_listen(settings: MakeSettings) -> None:
    url = f"http://host.docker.internal:{free_port()}"
    levels, text = levels_and_text(
        check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=url), None)
    )
    assert levels == ["warn", "fail"]
    assert (
        f"no model server answers at {url}: the connection is refused. Start Ollama on this machine" in text
    )
    assert "OLLAMA_HOST=0.0.0.0" in text


def test_one_that_listens_on_loopback_only_is_recognized(
    stack: FakeStack, settings: MakeSettings, program: Program
) -> None:
    program("docker", 'case "$*" in "network inspect"*) echo 127.0.0.9;; esac')
    stack.answers["/api/version"] = VERSION
    url = f"http://host.docker.internal:{stack.port}"
    _, text = levels_and_text(check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=url), None))
    assert "listens on 127.0.0.1 only, which containers do not reach" in text
    assert "Environment=OLLAMA_HOST=127.0.0.9" in text


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9", "on that machine, with OLLAMA_HOST=0.0.0.0"),
        ("http://gpu1.invalid:11434", "put the IP address into OLLAMA_URLS"),
    ],
)
def test_another_machine_that_does_not_answer_has_its_own_advice(
    settings: MakeSettings, url: str, said: str
) -> None:
    levels, text = levels_and_text(
        check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=url), None)
    )
    assert levels == ["warn", "fail"]
    assert said in text


def test_one_of_several_may_be_down(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/version"] = VERSION
    urls = f"http://127.0.0.1:{free_port()}, http://127.0.0.1:{stack.port}"
    levels, _ = levels_and_text(check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=urls), None))
    assert levels == ["warn", "warn", "ok"]


def test_what_is_no_ollama_is_recognized(stack: FakeStack, settings: MakeSettings) -> None:
    urls = f"http://127.0.0.1:{stack.port}"
    levels, text = levels_and_text(
        check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=urls), None)
    )
    assert levels == ["warn", "warn"]
    assert "is no Ollama: status 404" in text


def test_a_password_is_never_shown(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/version"] = (401, {})
    urls = f"http://me:secret@127.0.0.1:{stack.port}, http://me:secret@127.0.0.1:{free_port()}"
    given = settings(COMPOSE_PROFILES="external", OLLAMA_URLS=urls)
    levels, text = levels_and_text(check_servers(given, None))
    assert levels == ["warn", "ok", "warn"]
    assert "secret" not in text + repr(given)


def test_where_there_is_an_image_a_container_asks(settings: MakeSettings, program: Program) -> None:
    answers = json.dumps([{"kind": "silent", "reason": "no answer within 3 s"}])
    program(
        "docker",
        f"""case "$*" in
  "image ls"*) echo an-image;;
  "run --rm --network bridge --add-host host.docker.internal:host-gateway"*) echo '{answers}';;
esac""",
    )
    levels, text = levels_and_text(check_servers(settings(COMPOSE_PROFILES="external"), None))
    assert levels == ["fail"]
    assert "A firewall on this machine keeps containers out" in text


def test_where_docker_is_elsewhere_nothing_is_said_about_this_machine(
    settings: MakeSettings, program: Program
) -> None:
    docker = docker_info(program, OperatingSystem="Docker Desktop")
    url = f"http://host.docker.internal:{free_port()}"
    _, text = levels_and_text(check_servers(settings(COMPOSE_PROFILES="external", OLLAMA_URLS=url), docker))
    assert "Start Ollama on the machine that Docker runs on" in text


@pytest.mark.parametrize(
    ("urls", "levels"), [("http://127.0.0.1:1", ["warn"] * 2), ("http://model-server:11434", [])]
)
def test_servers_elsewhere_in_place_of_the_profiles_own_are_pointed_out(
    settings: MakeSettings, urls: str, levels: list[str]
) -> None:
    found = list(check_servers(settings(OLLAMA_URLS=urls), None))
    assert [result.level for result in found[: len(levels)]] == levels
    assert bool(found) == bool(levels)
    assert not found or "add http://model-server:11434 to OLLAMA_URLS" in str(found[0])
