"""Which ports a stack without Docker may have, and which model servers."""

from collections.abc import Callable

import pytest

from deploy.native.stack import Stack, check_ports, read_stack
from deploy.settings.values import BadSetting
from gateway.servers import Server


@pytest.mark.parametrize(
    ("variable", "port", "other"),
    [
        ("PORT", "8001", "GATEWAY_PORT"),
        ("PORT", "11435", "ENGINE_PORT"),
        ("GATEWAY_PORT", "11435", "ENGINE_PORT"),
    ],
)
def test_two_programs_cannot_have_the_same_port(
    monkeypatch: pytest.MonkeyPatch, variable: str, port: str, other: str
) -> None:
    monkeypatch.setenv(variable, port)
    with pytest.raises(
        BadSetting, match=f"{variable} and {other} are both {port}; choose another {variable}=…"
    ):
        check_ports(read_stack())


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stack]:
    """The stack that these variables make."""
    for name in ("OLLAMA_URL", "OLLAMA_URLS", "SERVERS", "ENGINE_PORT"):
        monkeypatch.delenv(name, raising=False)

    def read(**variables: str) -> Stack:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return read_stack()

    return read


def test_one_engine_is_called_as_a_single_ollama_is(environment: Callable[..., Stack]) -> None:
    for stack in (environment(), environment(SERVERS="1"), environment(SERVERS="")):
        assert stack.servers == (Server("http://127.0.0.1:11435", "ollama"),)


def test_several_engines_have_consecutive_ports_and_numbers(environment: Callable[..., Stack]) -> None:
    assert environment(SERVERS="3", ENGINE_PORT="9000").servers == (
        Server("http://127.0.0.1:9000", "engine1"),
        Server("http://127.0.0.1:9001", "engine2"),
        Server("http://127.0.0.1:9002", "engine3"),
    )


def test_several_ollamas_elsewhere_are_those_of_the_setting(environment: Callable[..., Stack]) -> None:
    stack = environment(OLLAMA_URLS="http://gpu1:11434 name=big weight=2, http://gpu2:11434")
    assert [(server.name, server.weight) for server in stack.servers] == [("big", 2), ("gpu2", 1)]
    assert not stack.is_embedded


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SERVERS": "0"}, "SERVERS must be a number of engines from 1 to 16, not '0'"),
        ({"SERVERS": "three"}, "SERVERS must be a number of engines from 1 to 16, not 'three'"),
        ({"SERVERS": "3", "OLLAMA_URL": "http://a:1"}, "SERVERS=3 starts embedded engines, and OLLAMA_URL"),
        ({"OLLAMA_URL": "http://a:1", "OLLAMA_URLS": "http://b:1"}, "OLLAMA_URL and OLLAMA_URLS are both"),
        ({"OLLAMA_URLS": "gpu1:11434"}, "OLLAMA_URLS: a server's address must be a URL"),
    ],
)
def test_servers_that_cannot_be_are_refused(
    environment: Callable[..., Stack], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(BadSetting, match=f"^{said}"):
        environment(**variables)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GATEWAY_PORT": "9002"}, r"GATEWAY_PORT and ENGINE_PORT \+ 2 are both 9002; choose another GATEW"),
        ({"ENGINE_PORT": "65534"}, "after port 65534 there are not enough for 3 engines; .* ENGINE_PORT=…"),
    ],
)
def test_the_ports_of_several_engines_are_checked(
    environment: Callable[..., Stack], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(BadSetting, match=f"^{said}"):
        check_ports(environment(**{"SERVERS": "3", "ENGINE_PORT": "9000", **variables}))
