"""Keys of the stack in containers: when they are required, who can create them, and how soon they apply."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.processes import wait_until
from tests.stack.containers import MODEL, Containers, docker, inspect, running

IN_FORCE_SECONDS = 5
KEYS = "/keys/keys"


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[Containers, str]]:
    """A stack that needed no key until one was created, and that key."""
    with running(COMPOSE_PROJECT_NAME="sluice-test-access") as (stack, _):
        assert httpx.get(f"{stack.url}/readyz").json()["access"] == "open"
        assert status(stack) == 200
        key = stack.make_key("first")
        wait_until(lambda: status(stack) == 401, IN_FORCE_SECONDS, "a key is needed")
        yield stack, key


def status(stack: Containers, key: str = "") -> int:
    """The status of a request through nginx."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(f"{stack.url}/api/version", headers=headers, trust_env=False).status_code


def status_of(stack: Containers, gateway: str, key: str) -> int:
    """The status of a request to this gateway."""
    code = (
        "import http.client as c; g = c.HTTPConnection('127.0.0.1', 8001); "
        f"g.request('GET', '/api/version', headers={{'x-api-key': '{key}'}}); print(g.getresponse().status)"
    )
    return int(stack.python(gateway, code))


def test_with_the_key_it_answers_and_without_it_does_not(guarded: tuple[Containers, str]) -> None:
    stack, key = guarded
    assert status(stack, key) == 200
    assert status(stack, key[:-1]) == 401
    question = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"num_predict": 5},
    }
    assert httpx.post(f"{stack.url}/chat", json=question, trust_env=False).status_code == 401
    with httpx.stream(
        "POST", f"{stack.url}/chat", json=question, headers={"x-api-key": key}, timeout=60, trust_env=False
    ) as answer:
        assert '"done":true' in answer.read().decode()
    assert httpx.get(f"{stack.url}/readyz", trust_env=False).json()["access"] == "keys"


def test_the_record_of_make_verify_passes_with_a_key(guarded: tuple[Containers, str]) -> None:
    stack, key = guarded
    settings = {**stack.environment, "SLUICE_KEY": key}
    assert "VERDICT: streamed; every check passed" in replace(stack, environment=settings).verify()


def test_only_the_gateway_can_read_the_keys_and_it_cannot_write_them(guarded: tuple[Containers, str]) -> None:
    stack, key = guarded
    gateway = stack.containers("gateway")[0]
    assert (
        docker("exec", gateway, "stat", "-c", "%a %u %g", "/keys", KEYS) == "700 10001 10001\n600 10001 10001"
    )
    assert key.rpartition("-")[2] not in docker("exec", gateway, "cat", KEYS)
    for way in (f"open('{KEYS}', 'a')", "open('/keys/new', 'w')", f"os.unlink('{KEYS}')"):
        code = f"import os\ntry:\n {way}\nexcept OSError as error:\n print(error.strerror)"
        assert stack.python(gateway, code) == "Read-only file system"
    [volume] = [mount for mount in inspect(gateway)["Mounts"] if mount["Destination"] == "/keys"]
    assert not volume["RW"]
    for other in ("nginx", "engine"):
        mounts = inspect(stack.containers(other)[0])["Mounts"]
        assert volume["Name"] not in [mount.get("Name") for mount in mounts]


def test_every_gateway_applies_new_and_revoked_keys_within_seconds(guarded: tuple[Containers, str]) -> None:
    stack, _ = guarded
    stack.compose("up", "--detach", "--wait", "--scale", "gateway=2")
    gateways = stack.containers("gateway")
    assert len(gateways) == 2
    key = stack.make_key("second")

    def all_say(expected: int) -> bool:
        return all(status_of(stack, gateway, key) == expected for gateway in gateways)

    wait_until(lambda: all_say(200), IN_FORCE_SECONDS, "the key counts in both")
    assert "second" in stack.compose("run", "--rm", "keys", "list")
    stack.compose("run", "--rm", "keys", "revoke", "second")
    wait_until(lambda: all_say(401), IN_FORCE_SECONDS, "it has ended in both")


def test_beyond_loopback_no_request_is_served_before_there_is_a_key() -> None:
    """Only the gateway is started, so that no port is published."""
    settings = {"COMPOSE_PROJECT_NAME": "sluice-test-bind", "BIND": "0.0.0.0"}
    stack = Containers("", settings)
    stack.compose("build", "--quiet", "gateway")
    try:
        stack.compose("up", "--detach", "--no-deps", "gateway")
        wait_until(
            lambda: "make key NAME=" in stack.compose("logs", "gateway"),
            30,
            "it says that a key is missing and how to create one",
        )
        assert "docker compose run --rm keys create" in stack.compose("logs", "gateway")
        [gateway] = stack.compose("ps", "--all", "--quiet", "gateway").split()
        assert inspect(gateway)["State"]["Health"]["Status"] != "healthy"
        key = stack.make_key("first")

        def is_healthy() -> bool:
            return bool(inspect(gateway)["State"]["Health"]["Status"] == "healthy")

        wait_until(is_healthy, 60, "Docker has restarted it, and it is healthy")
        assert status_of(stack, gateway, "") == 401
        assert status_of(stack, gateway, key) != 401
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "1")
