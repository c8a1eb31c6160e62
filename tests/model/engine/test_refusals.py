"""Requests that are refused, in the words and the shape of their API."""

from typing import Any

import httpx
import pytest

from tests.integration.engines import MODEL, STREAMS, body_for

# OpenAI's completions have no such field.
TAKES_IMAGES = [path for path in STREAMS if path != "/v1/completions"]

NOT_PULLED = 'model "nope" not found, try pulling it first'


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/api/chat", {"model": "nope", "messages": []}, 404, "model 'nope' not found"),
        ("/api/chat", {}, 400, "model is required"),
        ("/api/chat", {"model": "a b"}, 400, "invalid model name"),
        ("/api/generate", {"model": "a b"}, 400, "invalid model name"),
        ("/api/generate", {}, 404, "model '' not found"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("/api/show", {"Name": "Library/Nope:Tag"}, 404, "model 'Nope:Tag' not found"),
        ("/api/embed", {"MODEL": "nope", "Input": "x"}, 404, NOT_PULLED),
        ("/api/embeddings", {"MODEL": "nope", "Prompt": "x"}, 404, NOT_PULLED),
        ("/api/chat", {"model": "x:cloud"}, 403, "ollama cloud is disabled: remote model is unavailable"),
    ],
)
def test_ollamas_errors_have_its_words(
    engine: str, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    response = httpx.post(engine + path, json=body, timeout=30)
    assert (response.status_code, response.json()) == (status, {"error": error})
    assert response.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", STREAMS[:3])
def test_a_schema_that_llama_cpp_can_not_read_is_a_400(engine: str, path: str, stream: bool) -> None:
    bad = {"type": "bogus"}
    body = body_for(path, "x", stream) | {"format": bad, "raw": True}
    body["response_format"] = {"type": "json_schema", "json_schema": {"schema": bad}}
    response = httpx.post(engine + path, json=body, timeout=30)
    assert response.status_code == 400
    assert "bogus" in response.text


@pytest.mark.parametrize("path", STREAMS)
def test_field_names_are_matched_case_insensitively(engine: str, path: str) -> None:
    body = body_for(path, "x", stream=False) | {"options": {"num_predict": 1}}
    del body["model"]
    short = {"max_tokens", "max_output_tokens"} & set(body)
    body |= dict.fromkeys(short, 1)
    body.pop("response_format", None)
    body.pop("format", None)
    response = httpx.post(
        engine + path, json={"Model": MODEL} | {k.upper(): v for k, v in body.items()}, timeout=60
    )
    assert response.status_code == 200, response.text


def test_a_number_too_large_for_a_float_is_a_400(engine: str) -> None:
    for path in ("/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions"):
        content = f'{{"model":"{MODEL}","prompt":"x","options":{{"seed":1e400}},"seed":1e400}}'
        response = httpx.post(engine + path, content=content)
        assert response.status_code == 400
        assert "cannot unmarshal number 1e400" in response.text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", TAKES_IMAGES)
def test_an_image_is_a_400_in_the_shape_of_every_api(engine: str, path: str, stream: bool) -> None:
    data = "aGVsbG8="
    body = body_for(path, "x", stream)
    source = {"type": "base64", "media_type": "image/png", "data": data}
    parts: dict[str, Any] = {
        "/api/chat": {"role": "user", "content": "x", "images": [data]},
        "/v1/messages": {"role": "user", "content": [{"type": "image", "source": source}]},
    }
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    body["messages"] = [parts.get(path, {"role": "user", "content": [part]})]
    body["images"] = [data]
    file = {"type": "input_image", "image_url": f"data:image/png;base64,{data}"}
    body["input"] = [{"role": "user", "content": [file]}]
    response = httpx.post(engine + path, json=body, timeout=30)
    assert response.status_code == 400
    error = response.json()["error"]
    assert "does not support images or audio" in (error if path.startswith("/api") else error["message"])


@pytest.mark.parametrize("path", STREAMS)
def test_invalid_json_is_refused_in_the_apis_shape(engine: str, path: str) -> None:
    for content in (b"", b"{", b"[]", b'"x"'):
        response = httpx.post(engine + path, content=content)
        assert response.status_code == 400
        error = response.json()["error"]
        assert isinstance(error, str) == path.startswith("/api")


@pytest.mark.parametrize("path", STREAMS)
def test_an_unknown_model_is_a_404_in_every_api(engine: str, path: str) -> None:
    body = {
        "model": "nope",
        "prompt": "x",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 1,
    }
    response = httpx.post(engine + path, json=body)
    assert response.status_code == 404
    assert "model 'nope' not found" in response.text


def test_unknown_paths_and_methods_are_plain_text(engine: str) -> None:
    unknown = httpx.get(engine + "/nope")
    assert (unknown.status_code, unknown.text) == (404, "404 page not found")
    wrong = httpx.get(engine + "/api/chat")
    assert (wrong.status_code, wrong.text, wrong.headers["allow"]) == (
        405,
        "405 method not allowed",
        "POST",
    )
