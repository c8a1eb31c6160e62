"""Version, models, and Ollama 0.32's other routes, which are served or refused with the reason."""

from typing import Any

import httpx
import pytest

from tests.integration.engines import MODEL


def test_the_server_reports_that_it_is_running(engine: str) -> None:
    assert httpx.get(engine).text == "Ollama is running"
    assert httpx.head(engine).status_code == 200
    version = httpx.get(engine + "/api/version").json()
    assert (version["version"], version["engine"]["modelled_on"]) == ("0.32.15", "Ollama 0.32.15")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/version",
        "/api/tags",
        "/api/ps",
        "/api/status",
        "/api/experimental/model-recommendations",
        "/v1/models",
        f"/v1/models/{MODEL}",
        "/metrics",
    ],
)
def test_head_answers_wherever_get_does(engine: str, path: str) -> None:
    got, headed = httpx.get(engine + path), httpx.head(engine + path)
    assert (headed.status_code, headed.content) == (200, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]


def test_the_built_in_file_is_listed_and_shown(engine: str) -> None:
    (model,) = httpx.get(engine + "/api/tags").json()["models"]
    assert model["name"] == model["model"] == MODEL
    assert model["details"]["quantization_level"] == "Q4_1"
    assert len(model["digest"]) == 64
    shown = httpx.post(engine + "/api/show", json={"model": MODEL}).json()
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["general.parameter_count"] == 134_515_008
    assert "im_start" in shown["template"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/api/status", None, 200, '"disabled":true'),
        ("GET", "/api/experimental/model-recommendations", None, 200, '{"recommendations":[]}'),
        ("POST", "/api/pull", {"model": "llama3.2"}, 501, "can't pull models"),
        ("POST", "/api/pull", {"name": "llama3.2", "stream": False}, 501, "ENGINE_MODELS_DIR"),
        ("POST", "/api/pull", {"model": MODEL}, 200, '{"status":"success"}'),
        ("POST", "/api/pull", {"model": "a b"}, 400, "invalid model name"),
        ("POST", "/api/pull", None, 400, "missing request body"),
        ("POST", "/api/push", {"model": "x"}, 501, "can't push models"),
        ("POST", "/api/push", {}, 400, "model is required"),
        ("POST", "/api/create", {"model": "x", "from": MODEL}, 501, "can't create models"),
        ("POST", "/api/create", {}, 400, "invalid model name"),
        ("POST", "/api/copy", {"source": MODEL, "destination": "b"}, 501, "can't copy models"),
        ("POST", "/api/copy", {"source": "x", "destination": "b"}, 404, r"model \"x\" not found"),
        ("POST", "/api/copy", {}, 400, r"source \"\" is invalid"),
        ("DELETE", "/api/delete", {"model": MODEL}, 501, "can't delete models"),
        ("DELETE", "/api/delete", {"model": "x"}, 404, "model 'x' not found"),
        ("DELETE", "/api/delete", {"model": "a b"}, 400, r"name \"a b\" is invalid"),
        ("HEAD", f"/api/blobs/sha256:{'0' * 64}", None, 404, ""),
        ("HEAD", "/api/blobs/x", None, 400, ""),
        ("POST", f"/api/blobs/sha256:{'0' * 64}", {"a": 1}, 501, "can't store blobs"),
        ("POST", "/api/me", {}, 403, "has no account"),
        ("POST", "/api/signout", {}, 401, "not currently signed in"),
        ("DELETE", "/api/user/keys/abc", None, 401, "not currently signed in"),
        ("POST", "/api/experimental/web_search", {"query": "x"}, 403, "web search is unavailable"),
        ("POST", "/api/experimental/web_fetch", {"url": "x"}, 403, "web fetch is unavailable"),
    ],
)
def test_each_route_is_served_or_refused_with_the_reason(
    engine: str, method: str, path: str, body: Any, status: int, words: str
) -> None:
    response = httpx.request(method, engine + path, json=body)
    assert response.status_code == status
    assert words in response.text
    if status >= 400 and method != "HEAD":
        assert set(response.json()) == {"error"}


def test_speech_is_refused_in_openais_shape(engine: str) -> None:
    form: dict[str, Any] = {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": MODEL}}
    response = httpx.post(engine + "/v1/audio/transcriptions", **form)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert "audio" in response.json()["error"]["message"]
