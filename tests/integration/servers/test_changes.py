"""Which servers requests that change models go to, besides pulls."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.integration.programs import gateway
from tests.integration.servers.fleet import SUCCESS, Fleet, fleet, lines

DIGEST = "sha256:" + "0" * 64

# Their result depends on the server.
FOR_ONE: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/api/create", {"model": "new", "from": "everywhere"}),
    ("POST", "/api/copy", {"source": "everywhere", "destination": "new"}),
    ("POST", "/api/push", {"model": "everywhere"}),
    ("POST", f"/api/blobs/{DIGEST}", None),
    ("HEAD", f"/api/blobs/{DIGEST}", None),
    ("POST", "/api/me", None),
    ("POST", "/api/signout", None),
]


def delete(fleet: Fleet, model: str, **headers: str) -> httpx.Response:
    return fleet.client.request("DELETE", "/api/delete", json={"model": model}, headers=headers)


def missing(model: str) -> list[Any]:
    return lines({"error": f"model '{model}' not found"})


def test_a_model_is_deleted_on_every_server_that_has_it(three: Fleet) -> None:
    one, two, three_ = three.servers
    one.answer("old", *missing("old"), status=404)
    two.answer("old", Do.HEADERS)
    three_.answer("old", Do.HEADERS)
    answer = delete(three, "old")
    assert (answer.status_code, answer.content) == (200, b"")
    assert all(server.asked_for("/api/delete", "old") for server in three.servers)


def test_only_if_no_server_has_the_model_it_cannot_be_deleted(three: Fleet) -> None:
    answer = delete(three, "absent")
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'absent' not found"})
    assert all(server.asked_for("/api/delete", "absent") for server in three.servers)


def test_a_server_that_cannot_delete_is_named(three: Fleet, one_down: Fleet) -> None:
    one, two, three_ = three.servers
    one.answer("stuck", Do.HEADERS)
    two.answer("stuck", *lines({"error": "read-only file system"}), status=500)
    three_.answer("stuck", *missing("stuck"), status=404)
    answer = delete(three, "stuck")
    assert (answer.status_code, answer.json()) == (500, {"error": "gpu2: read-only file system"})
    answer = delete(one_down, "everywhere")
    assert (answer.status_code, answer.json()) == (502, {"error": "gpu1: the model server cannot be reached"})
    assert all(server.asked_for("/api/delete", "everywhere") for server in one_down.servers)


def test_x_backend_restricts_a_deletion_to_one_server(three: Fleet) -> None:
    for server in three.servers:
        server.answer("partly old", Do.HEADERS)
    assert delete(three, "partly old", **{"X-Backend": "gpu3"}).status_code == 200
    assert [len(server.asked_for("/api/delete", "partly old")) for server in three.servers] == [0, 0, 1]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three servers, with everything allowed."""
    allowed = {"GATEWAY_PUSH_REGISTRIES": "registry.ollama.ai", "GATEWAY_ACCOUNT_API": "on"}
    with fleet(tmp_path_factory.mktemp("changes"), ["gpu1", "gpu2", "gpu3"], **allowed) as running:
        for server in running.servers:
            server.answer("everywhere", *lines(SUCCESS))
            server.answer("new", *lines(SUCCESS))
        running.wait_ready()
        yield running


@pytest.mark.parametrize(("method", "path", "body"), FOR_ONE)
def test_what_depends_on_the_server_has_to_name_it(
    method: str, path: str, body: dict[str, Any] | None, tuned: Fleet
) -> None:
    def ask(**headers: str) -> httpx.Response:
        before = [len(server.received) for server in tuned.servers]
        answer = tuned.client.request(method, path, json=body, headers=headers)
        after = [len(server.received) for server in tuned.servers]
        answer.extensions["reached"] = [now - then for now, then in zip(after, before, strict=True)]
        return answer

    unnamed, unknown = ask(), ask(**{"X-Backend": "gpu9"})
    for answer in (unnamed, unknown):
        assert (answer.status_code, answer.extensions["reached"]) == (400, [0, 0, 0])
    if method != "HEAD":
        assert unnamed.json()["error"].startswith("there are several model servers; name one in the header")
        assert unnamed.json()["error"].endswith("X-Backend: gpu1, gpu2 or gpu3")
        assert unknown.json()["error"].startswith("X-Backend: no model server is called 'gpu9'")
    named = ask(**{"X-Backend": "gpu2"})
    assert (named.is_success, named.extensions["reached"]) == (True, [0, 1, 0])
    assert "x-backend" not in tuned.servers[1].received[-1].headers


def test_other_requests_ignore_the_header(three: Fleet) -> None:
    for path in ("/api/tags", "/api/version"):
        assert three.client.get(path, headers={"X-Backend": "gpu9"}).status_code == 200


def test_what_is_not_allowed_is_refused_before_a_server_is_asked_for(three: Fleet) -> None:
    answer = three.client.post("/api/push", json={"model": "everywhere"})
    assert answer.status_code == 403
    assert "GATEWAY_PUSH_REGISTRIES" in answer.json()["error"]


def test_a_model_that_may_not_be_pulled_is_no_base_for_one_at_another_server(tuned: Fleet) -> None:
    base = "hf.co/org/base:latest"
    tuned.servers[0].answer(base, DONE)
    body = {"model": "new", "from": base}
    made = tuned.client.post("/api/create", json=body, headers={"X-Backend": "gpu1"})
    assert made.status_code == 200
    # The server would pull it.
    refused = tuned.client.post("/api/create", json=body, headers={"X-Backend": "gpu2"})
    assert refused.status_code == 403
    assert "GATEWAY_PULL_REGISTRIES" in refused.json()["error"]
    copy = {"source": base, "destination": "new"}
    missing = tuned.client.post("/api/copy", json=copy, headers={"X-Backend": "gpu2"})
    assert (missing.status_code, missing.json()) == (404, {"error": f'model "{base}" not found'})


def test_a_single_server_need_not_be_named(tmp_path: Path) -> None:
    settings = {"GATEWAY_ADMIN_API": "on"}
    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **settings) as (_, url):
        fake.answer("everywhere", *lines(SUCCESS))
        there: dict[str, str]
        for there in ({}, {"X-Backend": "ollama"}):
            copied = httpx.post(f"{url}/api/copy", json=FOR_ONE[1][2], headers=there)
            pulled = httpx.post(f"{url}/api/pull", json={"model": "everywhere"}, headers=there)
            assert (copied.status_code, pulled.content) == (200, lines(SUCCESS)[0])
        for path in ("/api/copy", "/api/pull"):
            wrong = httpx.post(f"{url}{path}", json=FOR_ONE[1][2], headers={"X-Backend": "gpu1"})
            assert wrong.status_code == 400
            assert wrong.json()["error"] == "X-Backend: no model server is called 'gpu1'; there is ollama"


def test_the_audit_log_names_the_servers(three: Fleet) -> None:
    def audited(answer: httpx.Response) -> Any:
        return three.audited(answer.headers["x-request-id"])["backend"]

    assert audited(delete(three, "absent")) == "gpu1, gpu2, gpu3"
    assert audited(delete(three, "absent", **{"X-Backend": "gpu2"})) == "gpu2"
    assert audited(three.client.post("/api/copy", json=FOR_ONE[1][2])) is None


def test_a_page_may_name_the_server(three: Fleet) -> None:
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-backend",
    }
    preflight = three.client.options("/api/copy", headers=asked)
    assert preflight.status_code == 200
    assert "x-backend" in preflight.headers["access-control-allow-headers"].lower()


def test_an_upload_goes_to_the_named_server_as_it_arrives(three: Fleet) -> None:
    content = b"x" * 300_000
    answer = three.client.post(f"/api/blobs/{DIGEST}", content=content, headers={"X-Backend": "gpu3"})
    assert (answer.status_code, json.loads(answer.content)) == (201, {"swallowed": len(content)})
