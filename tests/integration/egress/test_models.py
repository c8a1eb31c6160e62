"""Cloud models are not shown or copied, and models come only from allowed registries."""

from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.egress.cloud import CLOUD_HOST, MESSAGES


def test_details_of_cloud_models_are_not_requested(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    for model in ("harmless", "gpt-oss:cloud"):
        for body in ({"model": model}, {"name": model}, {"model": "own", "name": model}):
            assert client.post("/api/show", json=body).status_code == 403
        assert client.get(f"/v1/models/{model}").status_code == 403
    assert client.get("/v1/models/user/gpt-oss:cloud").status_code == 403
    assert len(fake.received) == before


@pytest.mark.parametrize(
    ("path", "field", "name"), [("/api/tags", "models", "name"), ("/v1/models", "data", "id")]
)
def test_cloud_models_are_not_listed(
    client: httpx.Client, fake: FakeOllama, path: str, field: str, name: str
) -> None:
    new = f"new-in{path.replace('/', '-')}"
    fake.remote[new] = CLOUD_HOST
    fake.models.append({"id": new})
    listed = {model[name] for model in client.get(path).json()[field]}
    assert "own" in listed
    assert not listed & {"harmless", "stub:20b-cloud", "mine:cloud", new}


def test_cloud_models_are_not_recommended(client: httpx.Client, fake: FakeOllama) -> None:
    fake.recommendations = [
        {"model": "own"},
        {"model": "gemma4"},
        {"model": "kimi-k2.6:cloud"},
        {"model": "harmless"},
        {"description": "names no model"},
    ]
    got = client.get("/api/experimental/model-recommendations").json()["recommendations"]
    assert [model["model"] for model in got] == ["own", "gemma4"]


def test_a_copied_cloud_model_is_still_refused(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    for source in ("harmless", "stub:20b-cloud", "HARMLESS"):
        body = {"source": source, "destination": "own"}
        assert client.post("/api/copy", json=body).status_code == 403
        assert client.post("/api/create", json={"model": "own", "from": source}).status_code == 403
    assert len(fake.received) == before
    assert client.post("/api/copy", json={"source": "own", "destination": "copy"}).status_code == 200


def test_a_model_that_a_pull_replaces_by_a_cloud_model_is_refused(
    client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("replaced", DONE)
    body = {"model": "replaced", "messages": MESSAGES}
    assert client.post("/api/chat", json=body).status_code == 200
    fake.remote["replaced"] = CLOUD_HOST
    client.post("/api/pull", json={"model": "replaced"})
    assert client.post("/api/chat", json=body).status_code == 403


def test_a_model_can_only_be_created_from_one_that_exists_or_may_be_pulled(
    client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("x.example/user/own", DONE)
    allowed: list[dict[str, object]] = [
        {"model": "a", "from": "own"},
        {"model": "a", "from": "x.example/user/own"},
        {"model": "a", "from": "not-there-yet"},
        {"model": "a", "files": {"model.gguf": "sha256:" + "0" * 64}},
    ]
    refused: list[dict[str, object]] = [
        {"model": "a", "from": "x.example/user/other"},
        {"model": "a", "from": "own", "FROM": "x.example/user/other"},
        {"model": "a", "from": "own", "remote_host": "http://x.example"},
        {"name": "a", "path": "/etc/passwd"},
        {"name": "a", "modelfile": "FROM x.example/user/other"},
        {"model": "a", "from": "/etc/passwd"},
    ]
    before = len(fake.received)
    for body in refused:
        assert client.post("/api/create", json=body).status_code in (400, 403), body
    assert len(fake.received) == before
    for number, source in enumerate(allowed, 1):
        client.post("/api/create", json=source)
        assert len(fake.received) == before + number, source


@pytest.mark.parametrize(
    ("path", "body", "setting"),
    [
        ("/api/pull", {"model": "x.example/user/model"}, "GATEWAY_PULL_REGISTRIES"),
        ("/api/pull", {"model": "gpt-oss:20b-cloud"}, "GATEWAY_CLOUD_MODELS"),
        ("/api/pull", {"model": "llama3", "insecure": True}, "GATEWAY_PULL_INSECURE"),
        ("/api/push", {"model": "own"}, "GATEWAY_PUSH_REGISTRIES"),
    ],
)
def test_a_refusal_names_the_setting_that_would_allow_it(
    client: httpx.Client, fake: FakeOllama, path: str, body: dict[str, Any], setting: str
) -> None:
    before = len(fake.received)
    answer = client.post(path, json=body)
    assert answer.status_code == 403
    assert setting in answer.json()["error"]
    assert len(fake.received) == before


def test_a_cloud_model_can_be_deleted(client: httpx.Client, fake: FakeOllama) -> None:
    before = len(fake.received)
    client.request("DELETE", "/api/delete", json={"model": "harmless"})
    assert len(fake.received) == before + 1
