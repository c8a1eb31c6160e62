"""Lists of models are those of all servers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import DONE
from tests.integration.servers.fleet import Fleet, fleet, found, servers_of
from tests.processes import wait_until

MODELS = {"gpu1": ["a:latest", "shared:1b"], "gpu2": ["shared:1b", "org/b:latest", "far:latest"]}
SHOWN = {"a:latest": ["gpu1"], "shared:1b": ["gpu1", "gpu2"], "org/b:latest": ["gpu2"]}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The third of its servers is down."""
    with fleet(tmp_path_factory.mktemp("lists"), ["gpu1", "gpu2", "gpu3"], dead=["gpu3"]) as running:
        for server, names in zip(running.servers, MODELS.values(), strict=True):
            server.answers.clear()
            for name in names:
                server.answer(name, DONE)
            server.models = [{"id": name, "object": "model"} for name in names]
            server.loaded = [{"name": name, "model": name, "size": 1} for name in names]
        running.servers[1].remote["far:latest"] = "https://ollama.com"
        wait_until(lambda: found(running, "/api/tags", "models", "name") == SHOWN, 30, "all have been polled")
        yield running


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [("/api/tags", "models", "name"), ("/api/ps", "models", "name"), ("/v1/models", "data", "id")],
)
def test_each_model_is_listed_once_with_its_servers(path: str, field: str, name: str, two: Fleet) -> None:
    assert found(two, path, field, name) == SHOWN
    head = two.client.head(path)
    assert (head.status_code, head.content) == (200, b"")


def test_the_clients_read_the_lists(two: Fleet) -> None:
    with ollama.Client(two.url) as client:
        assert [model.model for model in client.list().models] == list(SHOWN)
        assert [model.model for model in client.ps().models] == list(SHOWN)
    with openai.OpenAI(base_url=f"{two.url}/v1", api_key="any", max_retries=0) as asked:
        assert [model.id for model in asked.models.list()] == list(SHOWN)
        for name in SHOWN:
            assert asked.models.retrieve(name).id == name
        with pytest.raises(openai.NotFoundError, match="model 'absent:latest' not found"):
            asked.models.retrieve("absent")


def test_one_model_is_found_on_whichever_server_has_it(two: Fleet) -> None:
    assert two.client.get("/v1/models/org/b").json() == {
        "id": "org/b:latest",
        "object": "model",
        "servers": ["gpu2"],
    }
    assert two.client.get("/v1/models/shared:1b").json()["servers"] == ["gpu1", "gpu2"]


def test_what_a_key_may_not_use_is_hidden(two: Fleet, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    keys = {"all": file.create("all", "user", EVERY_MODEL, None)}
    keys["some"] = file.create("some", "user", AllowList(("shared:*",)), None)
    names = ["gpu1", "gpu2"]
    with fleet(tmp_path, names, GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as running:
        for server, models in zip(running.servers, MODELS.values(), strict=True):
            server.answers = dict.fromkeys(models, two.servers[0].answers["a:latest"])

        def listed(who: str) -> dict[str, Any]:
            headers = {"Authorization": f"Bearer {keys[who]}"}
            return servers_of(running.client.get("/api/tags", headers=headers), "models", "name")

        wait_until(lambda: listed("all") == {**SHOWN, "far:latest": ["gpu2"]}, 30, "all have been polled")
        assert listed("some") == {"shared:1b": ["gpu1", "gpu2"]}


def test_show_comes_from_a_server_that_has_the_model(two: Fleet) -> None:
    two.servers[0].answer("shared:1b", b'{"error":"model \'shared:1b\' not found"}', status=404)
    two.servers[1].answer("shared:1b", b'{"license":"of gpu2"}')
    two.servers[1].answer("org/b:latest", b'{"license":"of gpu2"}')
    for model in ("org/b:latest", "shared:1b"):
        shown = two.client.post("/api/show", json={"model": model})
        assert (shown.status_code, shown.json()) == (200, {"license": "of gpu2"})
    missing = two.client.post("/api/show", json={"model": "absent"})
    assert (missing.status_code, missing.json()) == (404, {"error": "model 'absent:latest' not found"})


@pytest.mark.parametrize(
    "path", ["/api/version", "/api/status", "/", "/api/experimental/model-recommendations"]
)
def test_what_is_no_list_comes_from_one_that_answers(path: str, one_down: Fleet) -> None:
    assert one_down.client.get(path).status_code == 200


def test_if_no_server_answers_the_list_is_an_error(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"], dead=["gpu1", "gpu2"]) as running:
        for path in ("/api/tags", "/v1/models", "/api/ps", "/api/version"):
            answer = running.client.get(path)
            assert answer.status_code == 502
            assert "cannot be reached" in answer.text
