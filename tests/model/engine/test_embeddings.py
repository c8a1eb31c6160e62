"""Embeddings, over each API that has them."""

import base64
import math
import struct
import time
from typing import Any

import httpx
import pytest

from engine.models.catalogue import built_in_file
from tests.integration.engines import LONG_PROMPT, MODEL, Client, ask, body_for, busy, metric
from tests.processes import Process, wait_until


def embed(url: str, path: str = "/api/embed", **fields: Any) -> httpx.Response:
    return httpx.post(url + path, json={"model": MODEL, **fields}, timeout=60)


def test_each_text_gets_a_vector_of_length_one_that_depends_on_it_alone(idle: str) -> None:
    answer = embed(idle, input=["hello world", "the sky"]).json()
    assert list(answer) == [
        "model",
        "embeddings",
        "total_duration",
        "load_duration",
        "prompt_eval_count",
    ]
    assert (answer["model"], answer["prompt_eval_count"]) == (MODEL, 4)
    for vector in answer["embeddings"]:
        assert len(vector) == 576
        assert math.hypot(*vector) == pytest.approx(1)
    alone = embed(idle, input="hello world").json()["embeddings"]
    assert alone[0] == pytest.approx(answer["embeddings"][0], abs=0.01)


def test_the_vector_matches_ollamas(idle: str) -> None:
    """The first numbers of Ollama 0.24.0 with the same file, which rounds a little differently.

    Later ones embed only with models made for it.
    """
    (vector,) = embed(idle, input="x", dimensions=3).json()["embeddings"]
    assert vector == pytest.approx([-0.52818596, -0.8470516, 0.059356723], abs=0.01)


def test_the_three_apis_return_the_same_vector(idle: str) -> None:
    (vector,) = embed(idle, input="hello").json()["embeddings"]
    raw = embed(idle, "/api/embeddings", prompt="hello").json()["embedding"]
    length = math.hypot(*raw)
    assert length > 2
    assert [number / length for number in raw] == pytest.approx(vector, abs=0.01)
    (entry,) = embed(idle, "/v1/embeddings", input="hello").json()["data"]
    assert entry["embedding"] == pytest.approx(vector, abs=0.01)
    (entry,) = embed(idle, "/v1/embeddings", input="hello", encoding_format="base64").json()["data"]
    unpacked = struct.unpack("<576f", base64.b64decode(entry["embedding"]))
    assert unpacked == pytest.approx(vector, abs=0.01)


def test_a_text_that_is_too_long_is_truncated_or_refused(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    fields: dict[str, Any] = {"input": "word " * 300, "options": {"num_ctx": 100}}
    assert embed(url, **fields).json()["prompt_eval_count"] == 98
    refused = embed(url, truncate=False, **fields)
    error = {"error": "the input length exceeds the context length"}
    assert (refused.status_code, refused.json()) == (400, error)
    fields = {"prompt": "word " * 300, "options": {"num_ctx": 100}}
    older = embed(url, "/api/embeddings", **fields)
    assert (older.status_code, older.json()) == (500, error)


@pytest.mark.parametrize(
    ("path", "fields", "status", "answer"),
    [
        ("/api/embed", {}, 200, {"model": MODEL, "embeddings": []}),
        ("/api/embeddings", {}, 200, {"embedding": []}),
        (
            "/api/embed",
            {"input": ["a", ""]},
            500,
            {"error": "Failed to create new sequence: no input provided"},
        ),
        (
            "/api/embed",
            {"model": "nope", "input": "x"},
            404,
            {"error": 'model "nope" not found, try pulling it first'},
        ),
        ("/api/embed", {"model": "a b"}, 400, {"error": "invalid model name"}),
        (
            "/v1/embeddings",
            {"input": []},
            400,
            {
                "error": {
                    "message": "invalid input",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
        ),
    ],
)
def test_requests_without_text_or_model(
    engine: str, path: str, fields: dict[str, Any], status: int, answer: dict[str, Any]
) -> None:
    response = embed(engine, path, **fields)
    assert (response.status_code, response.json()) == (status, answer)


def test_chat_and_embeddings_share_one_loaded_model(own_engine: tuple[Process, str]) -> None:
    process, url = own_engine
    options = {"num_predict": 12, "temperature": 0}
    before = ask(url, stream=False, options=options).json()["message"]
    loads = process.output.count('"model_loading"')
    assert embed(url, input="hello").status_code == 200
    assert ask(url, stream=False, options=options).json()["message"] == before
    assert process.output.count('"model_loading"') == loads


def test_embeddings_and_answers_are_served_in_order(idle: str) -> None:
    body = body_for("/api/chat", "x", stream=True)
    with Client(idle, "/api/chat", body) as first:
        first.wait_for(b'"done":false')
        with Client(idle, "/api/embed", {"model": MODEL, "input": "hello"}) as second:
            wait_until(lambda: metric(idle, "engine_requests_waiting") == 1, 5, "the embedding waits")
            with Client(idle, "/api/chat", body) as third:
                wait_until(lambda: metric(idle, "engine_requests_waiting") == 2, 5, "the answer waits")
                first.leave()
                second.wait_for(b'"embeddings":[[')
                third.wait_for(b'"done":false')


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings"])
def test_a_client_that_disconnects_stops_the_embedding(idle: str, path: str) -> None:
    gone = metric(idle, "engine_requests_total", outcome="client_gone")
    body = {"model": MODEL, "input": LONG_PROMPT, "prompt": LONG_PROMPT}
    with Client(idle, path, body):
        wait_until(lambda: busy(idle) == 1, 10, "the text is being embedded")
    # The whole embedding takes many seconds longer; llama.cpp checks its client once a second.
    began = time.monotonic()
    assert ask(idle, options={"num_predict": 1}).status_code == 200
    assert time.monotonic() - began < 5
    assert metric(idle, "engine_requests_total", outcome="client_gone") == gone + 1


def test_a_model_made_for_embeddings_embeds_long_texts_and_does_not_chat(
    own_engine: tuple[Process, str],
) -> None:
    process, url = own_engine
    packaged = built_in_file()
    assert packaged is not None
    data = packaged.read_bytes()
    # Two more metadata entries, 64 bytes in total, so that the weights stay aligned.
    name, pad = b"llama.pooling_type", b"pad"
    entries = struct.pack("<Q18sII", len(name), name, 4, 1)
    entries += struct.pack("<Q3sIQ7s", len(pad), pad, 8, 7, b"x" * 7)
    count = struct.unpack_from("<Q", data, 16)[0] + 2
    file = process.log.parent / "mean.gguf"
    file.write_bytes(data[:16] + struct.pack("<Q", count) + entries + data[24:])
    try:
        assert httpx.post(url + "/api/show", json={"model": "mean"}).json()["capabilities"] == ["embedding"]
        answer = embed(url, model="mean", input="word " * 100, options={"num_ctx": 200}).json()
        assert answer["prompt_eval_count"] == 101
        last = embed(url, input="word " * 100, options={"num_ctx": 200}).json()
        assert last["embeddings"][0] != pytest.approx(answer["embeddings"][0], abs=0.01)
        refused = ask(url, model="mean")
        assert (refused.status_code, refused.json()) == (400, {"error": '"mean" does not support chat'})
    finally:
        file.unlink()
