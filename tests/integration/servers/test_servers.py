"""What operators see of the servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.roles import Role
from tests.fakes.ollama import DONE, Answer, Do, FakeOllama, line
from tests.integration.programs import gateway
from tests.integration.servers.fleet import Fleet, fleet
from tests.processes import free_port, wait_until

CHAT = {"model": "m:latest", "messages": [{"role": "user", "content": "x"}]}


def shown(client: httpx.Client, **headers: str) -> dict[str, Any]:
    answer = client.get("/servers", headers=headers)
    assert answer.status_code == 200
    return {server["name"]: server for server in answer.json()["servers"]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The second one is down."""
    with fleet(tmp_path_factory.mktemp("two"), ["gpu1", "gpu2"], dead=["gpu2"]) as running:
        running.process.wait_ready(f"{running.url}/readyz")
        yield running


def test_each_server_is_shown_with_what_it_does(two: Fleet) -> None:
    (server,) = two.servers
    server.loaded = [
        {"name": "m", "size": 8, "size_vram": 6, "expires_at": "2999-01-01T00:00:00Z"},
        {"name": "n", "size": 3, "size_vram": 0, "expires_at": "2000-01-01T00:00:00Z"},
    ]
    server.answer("m:latest", line(), Do.WAIT, DONE)
    wait_until(lambda: len(shown(two.client)["gpu1"]["loaded"]) == 2, 30, "it has been polled")
    with two.client.stream("POST", "/api/chat", json=CHAT) as answer:
        wait_until(lambda: server.answering, 10, "it answers")
        seen = shown(two.client)["gpu1"]
        server.go_on()
        answer.read()
    assert seen.pop("load_seconds").keys() <= {"m:latest"}  # not if that was quick
    assert seen == {
        "name": "gpu1",
        "address": server.url,
        "weight": 1,
        "available": True,
        "reason": None,
        "breaker": "closed",
        "models": ["everywhere:latest", "m:latest"],
        "loaded": [
            {"name": "m:latest", "size": 8, "vram": 6, "unload_after": None},
            {"name": "n:latest", "size": 3, "vram": 0, "unload_after": 0},
        ],
        "slots": {"m:latest": {"busy": 1, "of": 4}, "n:latest": {"busy": 0, "of": 4}},
        "speeds": {},
    }
    wait_until(lambda: "m:latest" in shown(two.client)["gpu1"]["speeds"], 10, "its speed is known")
    assert shown(two.client)["gpu1"]["speeds"]["m:latest"]["first_byte_seconds"] >= 0


def test_how_long_its_loads_take_is_shown(two: Fleet) -> None:
    (server,) = two.servers
    server.answer("slow:latest", line(), DONE)
    server.loading = Answer([0.5, *server.loading.steps])
    two.client.post("/api/chat", json={**CHAT, "model": "slow:latest"})
    assert shown(two.client)["gpu1"]["load_seconds"]["slow:latest"] >= 0.5


def test_why_a_server_is_unavailable_is_said(two: Fleet) -> None:
    down = shown(two.client)["gpu2"]
    assert (down["available"], down["reason"]) == (False, "the model server is not reachable")
    ready = two.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert ready.json()["servers"] == {"gpu2": "the model server is not reachable"}


def test_a_server_whose_requests_fail_is_shown_as_such(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"]) as running:
        running.wait_ready()
        for server in running.servers:
            server.answer("m:latest", b'{"error":"broken"}', status=500)

        def opened() -> bool:
            running.client.post("/api/chat", json=CHAT)
            return bool(shown(running.client)["gpu1"]["breaker"] == "open")

        wait_until(opened, 30, "its breaker is open")
        seen = shown(running.client)["gpu1"]
        assert (seen["available"], seen["reason"]) == (
            False,
            "its last requests have failed; it is tried again soon",
        )


def test_no_server_ready_is_said_with_the_reason_of_each(tmp_path: Path) -> None:
    missing = {"GATEWAY_DEFAULT_MODEL": "absent"}
    with fleet(tmp_path, ["gpu1", "gpu2"], dead=["gpu2"], **missing) as running:
        reasons = {
            "gpu1": "the model absent is not installed yet",
            "gpu2": "the model server is not reachable",
        }
        wait_until(
            lambda: running.client.get("/readyz").json().get("servers") == reasons,
            30,
            "both have been polled",
        )
        answer = running.client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
        assert answer.json()["missing"] == "; ".join(f"{name}: {why}" for name, why in reasons.items())


def test_only_admins_see_the_servers(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    roles: tuple[Role, ...] = ("admin", "user", "metrics")
    keys = {role: file.create(role, role, EVERY_MODEL, None) for role in roles}
    with fleet(tmp_path, ["gpu1", "gpu2"], GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as running:
        assert shown(running.client, Authorization=f"Bearer {keys['admin']}").keys() == {"gpu1", "gpu2"}
        for role in ("user", "metrics"):
            answer = running.client.get("/servers", headers={"Authorization": f"Bearer {keys[role]}"})
            assert answer.status_code == 403
        assert running.client.get("/servers").status_code == 401


def test_without_keys_a_setting_decides_whether_they_are_shown(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"], GATEWAY_ADMIN_API="off") as running:
        answer = running.client.get("/servers")
        assert answer.status_code == 403
        assert "GATEWAY_ADMIN_API=on" in answer.json()["error"]["message"]


def test_a_single_server_is_shown_too(tmp_path: Path) -> None:
    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, GATEWAY_ADMIN_API="on") as (_, url):
        (server,) = httpx.get(f"{url}/servers").json()["servers"]
        assert (server["name"], server["address"]) == ("ollama", fake.url)
        wait_until(lambda: "servers" not in httpx.get(f"{url}/readyz").json(), 10, "only its own reason")


def test_passwords_of_servers_are_never_shown(tmp_path: Path) -> None:
    port = free_port()
    urls = f"http://user:secret@127.0.0.1:{port} name=a, http://other:secret@127.0.0.1:{port}"
    settings = {"GATEWAY_OLLAMA_URLS": urls, "GATEWAY_ADMIN_API": "on"}
    with gateway("http://unused", tmp_path, **settings) as (process, url):
        told = [
            httpx.get(f"{url}/servers"),
            httpx.get(f"{url}/readyz"),
            httpx.get(f"{url}/api/tags"),
            httpx.get(f"{url}/metrics"),
            httpx.post(f"{url}/api/copy", json={"source": "a", "destination": "b"}),
            httpx.post(f"{url}/api/pull", json={"model": "a"}),
        ]
        assert [server["address"] for server in told[0].json()["servers"]] == [f"http://127.0.0.1:{port}"] * 2
        assert not any("secret" in answer.text for answer in told)
        assert "secret" not in process.output
