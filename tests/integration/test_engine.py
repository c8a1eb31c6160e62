"""The embedded engine as a process, with its real model."""

import base64
import contextlib
import json
import math
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine.models.catalogue import built_in_file
from tests.integration.engines import (
    LONG_PROMPT,
    MODEL,
    Client,
    ask,
    body_for,
    busy,
    engine_with_odd_models,
    lines,
    metric,
)
from tests.processes import Process, wait_until

STREAMS = [
    "/api/chat",
    "/api/generate",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
]
# OpenAI's completions have no such field.
TAKES_IMAGES = [path for path in STREAMS if path != "/v1/completions"]
NOT_PULLED = 'model "nope" not found, try pulling it first'


@pytest.fixture
def idle(engine: str) -> str:
    """The shared engine, once no request of earlier tests is running."""
    wait_until(lambda: busy(engine) == 0, 10, "no slot is busy")
    return engine


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    """An engine whose processes the tests may kill."""
    with engine_with_odd_models(tmp_path_factory.mktemp("models")) as running:
        yield running


@contextlib.contextmanager
def all_slots_taken(url: str, slots: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        body = body_for("/api/chat", "x", stream=True)
        clients = [stack.enter_context(Client(url, "/api/chat", body)) for _ in range(slots)]
        wait_until(lambda: busy(url) == slots, 20, f"{slots} slots are busy")
        yield clients


class TestAnswers:
    def test_the_server_reports_that_it_is_running(self, engine: str) -> None:
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
    def test_head_answers_wherever_get_does(self, engine: str, path: str) -> None:
        got, headed = httpx.get(engine + path), httpx.head(engine + path)
        assert (headed.status_code, headed.content) == (200, b"")
        assert headed.headers["content-type"] == got.headers["content-type"]

    def test_the_built_in_file_is_listed_and_shown(self, engine: str) -> None:
        (model,) = httpx.get(engine + "/api/tags").json()["models"]
        assert model["name"] == model["model"] == MODEL
        assert model["details"]["quantization_level"] == "Q4_1"
        assert len(model["digest"]) == 64
        shown = httpx.post(engine + "/api/show", json={"model": MODEL}).json()
        assert shown["capabilities"] == ["completion"]
        assert shown["model_info"]["general.parameter_count"] == 134_515_008
        assert "im_start" in shown["template"]

    def test_each_token_arrives_separately_when_it_is_generated(self, idle: str) -> None:
        ask(idle, "/api/generate")
        arrivals: list[float] = []
        parts: list[bytes] = []
        body = body_for("/api/chat", "x", stream=True) | {"options": {"num_predict": 40}}
        began = time.monotonic()
        with httpx.stream("POST", idle + "/api/chat", json=body, timeout=60) as response:
            assert response.headers["content-type"] == "application/x-ndjson"
            for part in response.iter_raw():
                arrivals.append(time.monotonic())
                parts.append(part)
        written = [json.loads(line) for line in b"".join(parts).split(b"\n")[:-1]]
        assert len(written) >= 30
        assert len(parts) > len(written) / 2
        assert arrivals[0] - began < 0.7 * (arrivals[-1] - began)
        stamps = [line["created_at"] for line in written]
        assert stamps == sorted(stamps, key=lambda stamp: stamp.ljust(40, "0"))
        assert len(set(stamps)) == len(stamps)

    def test_the_last_line_has_ollamas_fields(self, engine: str) -> None:
        *tokens, last = lines(ask(engine, options={"num_predict": 5}))
        assert [line["done"] for line in tokens] == [False] * len(tokens)
        assert list(last) == [
            "model",
            "created_at",
            "message",
            "done",
            "done_reason",
            "total_duration",
            "load_duration",
            "prompt_eval_count",
            "prompt_eval_duration",
            "eval_count",
            "eval_duration",
        ]
        assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 5)
        assert last["prompt_eval_count"] == 36
        assert last["total_duration"] > last["eval_duration"] > 10**6

    def test_without_streaming_the_answer_is_one_object(self, engine: str) -> None:
        options = {"num_predict": 8, "temperature": 0}
        whole = ask(engine, stream=False, options=options)
        assert whole.headers["content-type"] == "application/json; charset=utf-8"
        streamed = lines(ask(engine, options=options))
        text = "".join(line["message"]["content"] for line in streamed)
        assert whole.json()["message"] == {"role": "assistant", "content": text}
        assert whole.json()["eval_count"] == 8

    def test_the_name_is_echoed_as_the_client_wrote_it(self, engine: str) -> None:
        for name in ("SmolLM2:135M", "library/smollm2:135m", "registry.ollama.ai/library/smollm2:135m"):
            answer = ask(engine, model=name, stream=False, options={"num_predict": 1}).json()
            assert answer["model"] == name

    def test_a_seed_makes_an_answer_repeatable(self, engine: str) -> None:
        def answer(seed: int) -> str:
            options = {"num_predict": 12, "temperature": 2, "seed": seed}
            text: str = ask(engine, stream=False, options=options).json()["message"]["content"]
            return text

        assert answer(1) == answer(1)
        assert len({answer(seed) for seed in range(4)}) > 1

    def test_a_stop_word_ends_the_answer_before_it(self, engine: str) -> None:
        options = {"num_predict": 40, "temperature": 0, "stop": ["sky"]}
        answer = ask(engine, stream=False, options=options).json()
        assert answer["done_reason"] == "stop"
        assert "sky" not in answer["message"]["content"]

    def test_an_answer_follows_a_schema(self, engine: str) -> None:
        properties = {"blue": {"type": "boolean"}}
        schema = {
            "type": "object",
            "properties": properties,
            "required": ["blue"],
            "additionalProperties": False,
        }
        options = {"temperature": 0, "num_predict": 100}
        for path, fields in (("/api/chat", {}), ("/api/generate", {"prompt": "Is the sky blue?"})):
            answer = ask(engine, path, stream=False, format=schema, options=options, **fields).json()
            text = answer["message"]["content"] if "message" in answer else answer["response"]
            assert set(json.loads(text)) == {"blue"}

    def test_the_json_format_produces_an_object(self, engine: str) -> None:
        for path, fields in (("/api/chat", {}), ("/api/generate", {"prompt": "Is the sky blue?"})):
            answer = ask(
                engine, path, stream=False, format="json", options={"num_predict": 20}, **fields
            ).json()
            text = answer["message"]["content"] if "message" in answer else answer["response"]
            assert text.lstrip().startswith("{")

    def test_generate_continues_from_a_context(self, engine: str) -> None:
        options = {"num_predict": 4, "temperature": 0}
        first = ask(engine, "/api/generate", prompt="My name is Ada.", stream=False, options=options).json()
        assert first["prompt_eval_count"] + 4 == len(first["context"])
        fields = {"prompt": "Who am I?", "context": first["context"], "stream": False, "options": options}
        second = ask(engine, "/api/generate", **fields).json()
        assert second["context"][: len(first["context"])] == first["context"]
        assert second["prompt_eval_count"] > len(first["context"])

    def test_a_raw_prompt_has_no_template_and_no_context(self, engine: str) -> None:
        fields = {"prompt": "The sky is", "raw": True, "stream": False, "options": {"num_predict": 2}}
        answer = ask(engine, "/api/generate", **fields).json()
        assert answer["prompt_eval_count"] == 3
        assert "context" not in answer

    def test_log_probabilities_come_on_request(self, engine: str) -> None:
        for path, fields in (("/api/chat", {}), ("/api/generate", {"prompt": "x"})):
            options = {"num_predict": 2}
            (entry, _) = ask(engine, path, logprobs=True, stream=False, options=options, **fields).json()[
                "logprobs"
            ]
            assert set(entry) == {"token", "logprob", "bytes"}

    def test_a_conversation_that_is_too_long_loses_its_oldest_messages(self, engine: str) -> None:
        old = {"role": "user", "content": "word " * 5000}
        new = {"role": "user", "content": "hi"}
        answer = ask(engine, messages=[old, new], stream=False, options={"num_predict": 1})
        assert answer.json()["prompt_eval_count"] < 100
        refused = ask(engine, messages=[old, new], truncate=False)
        assert refused.status_code == 400
        assert "exceeds the available context size (4096 tokens)" in refused.json()["error"]

    def test_openai_chat_completions_stream_and_count(self, engine: str) -> None:
        fields = {"max_tokens": 3, "temperature": 0}
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        response = ask(engine, "/v1/chat/completions", **fields, **streamed)
        assert response.headers["content-type"].startswith("text/event-stream")
        payloads = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
        assert payloads[-1] == "[DONE]"
        chunks = [json.loads(payload) for payload in payloads[:-1]]
        assert {chunk["model"] for chunk in chunks} == {MODEL}
        assert len({chunk["id"] for chunk in chunks}) == 1
        usage = chunks[-1]["usage"]
        cached = usage.pop("prompt_tokens_details")["cached_tokens"]
        assert usage == {"prompt_tokens": 36, "completion_tokens": 3, "total_tokens": 39}
        assert 0 <= cached < 36
        whole = ask(engine, "/v1/chat/completions", **fields).json()
        assert whole["choices"][0]["finish_reason"] == "length"
        assert whole["usage"]["completion_tokens"] == 3

    def test_a_repeated_prompt_comes_from_the_cache_and_usage_reports_it(self, idle: str) -> None:
        def cached(path: str, *names: str, **fields: Any) -> int:
            found = ask(idle, path, **fields).json()["usage"]
            for name in names:
                found = found[name]
            number: int = found
            return number

        chat = ("/v1/chat/completions", "prompt_tokens_details", "cached_tokens")
        cached(*chat, max_tokens=1)
        assert cached(*chat, max_tokens=1) > 20
        response = ("/v1/responses", "input_tokens_details", "cached_tokens")
        assert cached(*response, input="Why is the sky blue?", max_output_tokens=1) > 20
        completion = ("/v1/completions", "prompt_tokens_details", "cached_tokens")
        assert cached(*completion, prompt="Why is the sky blue?", max_tokens=1) > 20

    def test_openai_completions_apply_the_chat_template_as_ollama_does(self, engine: str) -> None:
        fields = {"prompt": "Why is the sky blue?", "max_tokens": 3, "temperature": 0}
        answer = ask(engine, "/v1/completions", **fields).json()
        assert answer["object"] == "text_completion"
        assert answer["id"].startswith("cmpl-")
        assert answer["usage"]["prompt_tokens"] == 36
        assert answer["choices"][0]["finish_reason"] == "length"
        empty = ask(engine, "/v1/completions", prompt="").json()
        assert (empty["choices"][0]["text"], empty["choices"][0]["finish_reason"]) == ("", "load")

    def test_a_long_prompt_leaves_half_of_the_context_for_the_answer(
        self, own_engine: tuple[Process, str]
    ) -> None:
        _, url = own_engine
        prompt, options = "word " * 200_000, {"num_ctx": 512, "num_predict": 1}
        fields: dict[str, Any] = {"prompt": prompt, "stream": False, "options": options}
        answer = ask(url, "/api/generate", **fields).json()
        # Ollama 0.32.15 evaluates as many tokens of this megabyte.
        assert answer["prompt_eval_count"] == 258
        refused = ask(url, messages=[{"role": "user", "content": prompt}], **fields)
        assert refused.status_code == 400
        assert "exceeds the available context size (512 tokens)" in refused.json()["error"]

    def test_a_long_conversation_keeps_the_newest_messages_that_fit(
        self, own_engine: tuple[Process, str]
    ) -> None:
        _, url = own_engine
        messages = [{"role": "system", "content": "Be short."}]
        messages += [{"role": "user", "content": f"{n} " + "word " * 20} for n in range(1000)]
        answer = ask(url, messages=messages, stream=False, options={"num_ctx": 512, "num_predict": 1}).json()
        assert 400 < answer["prompt_eval_count"] < 512

    @pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
    def test_the_prompt_is_shown_on_request(self, engine: str, path: str) -> None:
        response = ask(engine, path, prompt="Why is the sky blue?", _debug_render_only=True)
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        shown = response.json()
        assert shown["done"] is False
        assert "<|im_start|>user\nWhy is the sky blue?" in shown["_debug_info"]["rendered_template"]

    def test_openai_models_are_listed(self, engine: str) -> None:
        (model,) = httpx.get(engine + "/v1/models").json()["data"]
        assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "library")
        assert httpx.get(f"{engine}/v1/models/{MODEL}").json() == model
        for name in (f"library/{MODEL}", f"library%2F{MODEL}", f"registry.ollama.ai/library/{MODEL}"):
            assert httpx.get(f"{engine}/v1/models/{name}").json() == model

    def test_anthropic_messages_stream_and_count(self, engine: str) -> None:
        response = ask(engine, "/v1/messages", max_tokens=3, stream=True, temperature=0, system="Be short.")
        data = [json.loads(line[6:]) for line in response.text.split("\n") if line.startswith("data: ")]
        assert data[0]["type"] == "message_start"
        assert data[-1]["type"] == "message_stop"
        assert data[-2]["delta"]["stop_reason"] == "max_tokens"
        assert data[0]["message"]["usage"]["input_tokens"] == data[-2]["usage"]["input_tokens"] > 10
        whole = ask(engine, "/v1/messages", max_tokens=3, temperature=0).json()
        assert whole["content"][0]["type"] == "text"
        assert whole["usage"]["output_tokens"] == 3


class TestRefusals:
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
        self, engine: str, path: str, body: dict[str, Any], status: int, error: str
    ) -> None:
        response = httpx.post(engine + path, json=body, timeout=30)
        assert (response.status_code, response.json()) == (status, {"error": error})
        assert response.headers["content-type"] == "application/json; charset=utf-8"

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("path", STREAMS[:3])
    def test_a_schema_that_llama_cpp_can_not_read_is_a_400(
        self, engine: str, path: str, stream: bool
    ) -> None:
        bad = {"type": "bogus"}
        body = body_for(path, "x", stream) | {"format": bad, "raw": True}
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": bad}}
        response = httpx.post(engine + path, json=body, timeout=30)
        assert response.status_code == 400
        assert "bogus" in response.text

    @pytest.mark.parametrize("path", STREAMS)
    def test_field_names_are_matched_case_insensitively(self, engine: str, path: str) -> None:
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

    def test_a_number_too_large_for_a_float_is_a_400(self, engine: str) -> None:
        for path in ("/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions"):
            content = f'{{"model":"{MODEL}","prompt":"x","options":{{"seed":1e400}},"seed":1e400}}'
            response = httpx.post(engine + path, content=content)
            assert response.status_code == 400
            assert "cannot unmarshal number 1e400" in response.text

    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("path", TAKES_IMAGES)
    def test_an_image_is_a_400_in_the_shape_of_every_api(self, engine: str, path: str, stream: bool) -> None:
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
    def test_invalid_json_is_refused_in_the_apis_shape(self, engine: str, path: str) -> None:
        for content in (b"", b"{", b"[]", b'"x"'):
            response = httpx.post(engine + path, content=content)
            assert response.status_code == 400
            error = response.json()["error"]
            assert isinstance(error, str) == path.startswith("/api")

    @pytest.mark.parametrize("path", STREAMS)
    def test_an_unknown_model_is_a_404_in_every_api(self, engine: str, path: str) -> None:
        body = {
            "model": "nope",
            "prompt": "x",
            "messages": [{"role": "user", "content": "x"}],
            "max_tokens": 1,
        }
        response = httpx.post(engine + path, json=body)
        assert response.status_code == 404
        assert "model 'nope' not found" in response.text

    def test_unknown_paths_and_methods_are_plain_text(self, engine: str) -> None:
        unknown = httpx.get(engine + "/nope")
        assert (unknown.status_code, unknown.text) == (404, "404 page not found")
        wrong = httpx.get(engine + "/api/chat")
        assert (wrong.status_code, wrong.text, wrong.headers["allow"]) == (
            405,
            "405 method not allowed",
            "POST",
        )


class TestManagement:
    """Ollama 0.32's other routes are served, or refused with the reason."""

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
        self, engine: str, method: str, path: str, body: Any, status: int, words: str
    ) -> None:
        response = httpx.request(method, engine + path, json=body)
        assert response.status_code == status
        assert words in response.text
        if status >= 400 and method != "HEAD":
            assert set(response.json()) == {"error"}

    def test_speech_is_refused_in_openais_shape(self, engine: str) -> None:
        form: dict[str, Any] = {"files": {"file": ("a.wav", b"RIFF")}, "data": {"model": MODEL}}
        response = httpx.post(engine + "/v1/audio/transcriptions", **form)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"
        assert "audio" in response.json()["error"]["message"]


class TestDepartures:
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("path", STREAMS)
    def test_a_client_that_disconnects_during_prompt_evaluation_frees_its_slot(
        self, idle: str, path: str, stream: bool
    ) -> None:
        gone = metric(idle, "engine_requests_total", outcome="client_gone")
        with Client(idle, path, body_for(path, LONG_PROMPT, stream)):
            wait_until(lambda: busy(idle) == 1, 10, "the prompt is being evaluated")
        # Evaluating the whole prompt takes seconds longer.
        wait_until(lambda: busy(idle) == 0, 2, "the slot is free")
        assert metric(idle, "engine_requests_total", outcome="client_gone") == gone + 1

    @pytest.mark.parametrize("path", STREAMS[:3])
    def test_a_client_that_disconnects_in_the_middle_of_an_answer_frees_its_slot(
        self, idle: str, path: str
    ) -> None:
        with Client(idle, path, body_for(path, "x", stream=True)) as client:
            client.wait_for(b"\n")
            wait_until(lambda: busy(idle) == 1, 10, "the answer is being generated")
        wait_until(lambda: busy(idle) == 0, 2, "the slot is free")

    def test_a_client_that_disconnects_before_a_whole_answer_frees_its_slot(self, idle: str) -> None:
        with Client(idle, "/api/chat", body_for("/api/chat", "x", stream=False)):
            wait_until(lambda: busy(idle) == 1, 10, "the answer is being generated")
        wait_until(lambda: busy(idle) == 0, 2, "the slot is free")

    def test_a_client_that_disconnects_while_waiting_never_reaches_llama_cpp(self, idle: str) -> None:
        with all_slots_taken(idle, 4):
            with Client(idle, "/api/chat", body_for("/api/chat", "x", stream=True)):
                wait_until(lambda: metric(idle, "engine_requests_waiting") == 1, 5, "a request waits")
            wait_until(lambda: metric(idle, "engine_requests_waiting") == 0, 1, "no request waits")
            assert busy(idle) == 4

    def test_a_client_that_disconnects_during_a_load_does_not_cancel_it_for_others(
        self, own_engine: tuple[Process, str]
    ) -> None:
        process, url = own_engine
        ask(url, "/api/generate", keep_alive=0)
        loads = process.output.count('"model_loading"')
        answered = metric(url, "engine_requests_total", outcome="ok")
        with Client(url, "/api/chat", body_for("/api/chat", "x", stream=True)):
            wait_until(lambda: metric(url, "engine_requests_waiting") == 1, 5, "the model is being loaded")
        answers = [
            threading.Thread(target=ask, args=(url,), kwargs={"options": {"num_predict": 1}})
            for _ in range(3)
        ]
        for answer in answers:
            answer.start()
        for answer in answers:
            answer.join()
        wait_until(lambda: process.output.count('"model_loading"') > loads, 5, "the load is in the log")
        assert process.output.count('"model_loading"') == loads + 1
        assert metric(url, "engine_requests_total", outcome="ok") == answered + 3


class TestSlots:
    def test_as_many_requests_as_slots_run_concurrently_and_further_ones_wait(self, idle: str) -> None:
        body = body_for("/api/chat", "x", stream=True)
        with all_slots_taken(idle, 4) as clients, Client(idle, "/api/chat", body) as fifth:
            wait_until(lambda: metric(idle, "engine_requests_waiting") == 1, 5, "the fifth waits")
            clients[0].leave()
            fifth.wait_for(b'"done":false')
            assert metric(idle, "engine_requests_waiting") == 0

    def test_a_full_queue_is_ollamas_503(self, own_engine: tuple[Process, str]) -> None:
        _, url = own_engine
        body = body_for("/api/chat", "x", stream=True)
        with all_slots_taken(url, 1), contextlib.ExitStack() as queue:
            for _ in range(4):
                queue.enter_context(Client(url, "/api/chat", body))
            wait_until(lambda: metric(url, "engine_requests_waiting") == 4, 5, "the queue is full")
            refused = ask(url)
        assert refused.status_code == 503
        error = "server busy, please try again.  maximum pending requests exceeded"
        assert refused.json() == {"error": error}


class TestLoading:
    def test_an_empty_prompt_loads_and_keep_alive_zero_unloads(self, engine: str) -> None:
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

    def test_keep_alive_sets_when_the_model_is_unloaded(self, engine: str) -> None:
        def expires() -> list[str]:
            return [model["expires_at"] for model in httpx.get(engine + "/api/ps").json()["models"]]

        ask(engine, "/api/generate", keep_alive=-1)
        assert expires()[0] > "2300"
        ask(engine, "/api/generate", keep_alive="50ms")
        wait_until(lambda: expires() == [], 5, "the model is unloaded")
        ask(engine, "/api/generate", keep_alive="5m")
        assert "2026" <= expires()[0] < "2300"

    def test_another_context_size_reloads_and_the_models_own_is_the_limit(self, engine: str) -> None:
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

    def test_a_reload_waits_for_running_answers(self, own_engine: tuple[Process, str]) -> None:
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
        self, own_engine: tuple[Process, str]
    ) -> None:
        process, url = own_engine
        names = {model["name"] for model in httpx.get(url + "/api/tags").json()["models"]}
        assert names == {MODEL, "foo-bar:q8_0", "half:latest"}
        for name in (MODEL, "foo-bar:q8_0"):
            assert ask(url, model=name, stream=False, options={"num_predict": 1}).status_code == 200
            assert [m["name"] for m in httpx.get(url + "/api/ps").json()["models"]] == [name]
        wait_until(lambda: '"model_unreadable"' in process.output, 5, "the log says so")

    def test_a_model_that_llama_cpp_can_not_load_is_a_500(self, own_engine: tuple[Process, str]) -> None:
        _, url = own_engine
        response = ask(url, model="half")
        assert response.status_code == 500
        assert "could not load the model" in response.json()["error"]
        assert ask(url, options={"num_predict": 1}).status_code == 200


def embed(url: str, path: str = "/api/embed", **fields: Any) -> httpx.Response:
    return httpx.post(url + path, json={"model": MODEL, **fields}, timeout=60)


class TestEmbeddings:
    def test_each_text_gets_a_vector_of_length_one_that_depends_on_it_alone(self, idle: str) -> None:
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

    def test_the_vector_matches_ollamas(self, idle: str) -> None:
        """The first numbers of Ollama 0.24.0 with the same file, which rounds a little differently.

        Later ones embed only with models made for it.
        """
        (vector,) = embed(idle, input="x", dimensions=3).json()["embeddings"]
        assert vector == pytest.approx([-0.52818596, -0.8470516, 0.059356723], abs=0.01)

    def test_the_three_apis_return_the_same_vector(self, idle: str) -> None:
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

    def test_a_text_that_is_too_long_is_truncated_or_refused(self, own_engine: tuple[Process, str]) -> None:
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
        self, engine: str, path: str, fields: dict[str, Any], status: int, answer: dict[str, Any]
    ) -> None:
        response = embed(engine, path, **fields)
        assert (response.status_code, response.json()) == (status, answer)

    def test_chat_and_embeddings_share_one_loaded_model(self, own_engine: tuple[Process, str]) -> None:
        process, url = own_engine
        options = {"num_predict": 12, "temperature": 0}
        before = ask(url, stream=False, options=options).json()["message"]
        loads = process.output.count('"model_loading"')
        assert embed(url, input="hello").status_code == 200
        assert ask(url, stream=False, options=options).json()["message"] == before
        assert process.output.count('"model_loading"') == loads

    def test_embeddings_and_answers_are_served_in_order(self, idle: str) -> None:
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
    def test_a_client_that_disconnects_stops_the_embedding(self, idle: str, path: str) -> None:
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
        self, own_engine: tuple[Process, str]
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
            assert httpx.post(url + "/api/show", json={"model": "mean"}).json()["capabilities"] == [
                "embedding"
            ]
            answer = embed(url, model="mean", input="word " * 100, options={"num_ctx": 200}).json()
            assert answer["prompt_eval_count"] == 101
            last = embed(url, input="word " * 100, options={"num_ctx": 200}).json()
            assert last["embeddings"][0] != pytest.approx(answer["embeddings"][0], abs=0.01)
            refused = ask(url, model="mean")
            assert (refused.status_code, refused.json()) == (400, {"error": '"mean" does not support chat'})
        finally:
            file.unlink()
