"""When models are loaded, reloaded and unloaded."""

import httpx

from tests.integration.engines import MODEL, Client, all_slots_taken, ask, body_for, metric
from tests.processes import Process, wait_until


def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(engine: str) -> None:
    def names() -> list[str]:
        return [model["name"] for model in httpx.get(engine + "/api/ps").json()["models"]]

    loaded = ask(engine, "/api/generate").json()
    assert {key: loaded[key] for key in ("response", "done", "done_reason")} == {
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    assert names() == [MODEL]
    unloaded = ask(engine, messages=[], keep_alive=0).json()
    assert unloaded["message"] == {"role": "assistant", "content": ""}
    assert unloaded["done_reason"] == "unload"
    assert names() == []


def test_no_texts_to_embed_load_the_model(engine: str) -> None:
    ask(engine, messages=[], keep_alive=0)
    answer = httpx.post(
        engine + "/api/embed", json={"model": MODEL, "input": [], "options": {"num_ctx": 512}}
    )
    assert answer.json() == {"model": MODEL, "embeddings": []}
    (model,) = httpx.get(engine + "/api/ps").json()["models"]
    assert (model["name"], model["context_length"]) == (MODEL, 512)


def test_keep_alive_sets_when_the_model_is_unloaded(engine: str) -> None:
    def expires() -> list[str]:
        return [model["expires_at"] for model in httpx.get(engine + "/api/ps").json()["models"]]

    ask(engine, "/api/generate", keep_alive=-1)
    assert expires()[0] > "2300"
    ask(engine, "/api/generate", keep_alive="50ms")
    wait_until(lambda: expires() == [], 5, "the model is unloaded")
    ask(engine, "/api/generate", keep_alive="5m")
    assert "2026" <= expires()[0] < "2300"


def test_another_context_size_reloads_and_the_models_own_is_the_limit(engine: str) -> None:
    def size() -> int:
        (model,) = httpx.get(engine + "/api/ps").json()["models"]
        number: int = model["context_length"]
        return number

    ask(engine, "/api/generate", options={"num_ctx": 512})
    assert size() == 512
    ask(engine, "/api/generate", options={"num_ctx": 1_000_000})
    assert size() == 8192
    ask(engine, "/api/generate")
    assert size() == 4096


def test_a_reload_waits_for_running_answers(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    with all_slots_taken(url, 1) as (running,):
        body = body_for("/api/chat", "x", stream=True)
        body["options"]["num_ctx"] = 512
        with Client(url, "/api/chat", body) as waiting:
            wait_until(lambda: metric(url, "engine_requests_waiting") == 1, 5, "the reload waits")
            running.wait_for(b'"done":false')
            running.leave()
            waiting.wait_for(b'"done":false')
    (model,) = httpx.get(url + "/api/ps").json()["models"]
    assert model["context_length"] == 512


def test_a_file_in_the_models_directory_is_served_and_replaces_the_loaded_model(
    own_engine: tuple[Process, str],
) -> None:
    process, url = own_engine
    names = {model["name"] for model in httpx.get(url + "/api/tags").json()["models"]}
    assert names == {MODEL, "foo-bar:q8_0", "half:latest"}
    for name in (MODEL, "foo-bar:q8_0"):
        assert ask(url, model=name, stream=False, options={"num_predict": 1}).status_code == 200
        assert [m["name"] for m in httpx.get(url + "/api/ps").json()["models"]] == [name]
    wait_until(lambda: '"model_unreadable"' in process.output, 5, "the log says so")


def test_a_model_that_llama_cpp_can_not_load_is_a_500(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    response = ask(url, model="half")
    assert response.status_code == 500
    assert "could not load the model" in response.json()["error"]
    assert ask(url, options={"num_predict": 1}).status_code == 200
