"""Ollama's own API: how answers stream, and what the fields of a request change."""

import json
import time

import httpx

from tests.integration.engines import ask, body_for, lines


def test_each_token_arrives_separately_when_it_is_generated(idle: str) -> None:
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


def test_the_last_line_has_ollamas_fields(engine: str) -> None:
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


def test_without_streaming_the_answer_is_one_object(engine: str) -> None:
    options = {"num_predict": 8, "temperature": 0}
    whole = ask(engine, stream=False, options=options)
    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    streamed = lines(ask(engine, options=options))
    text = "".join(line["message"]["content"] for line in streamed)
    assert whole.json()["message"] == {"role": "assistant", "content": text}
    assert whole.json()["eval_count"] == 8


def test_the_name_is_echoed_as_the_client_wrote_it(engine: str) -> None:
    for name in ("SmolLM2:135M", "library/smollm2:135m", "registry.ollama.ai/library/smollm2:135m"):
        answer = ask(engine, model=name, stream=False, options={"num_predict": 1}).json()
        assert answer["model"] == name


def test_a_seed_makes_an_answer_repeatable(engine: str) -> None:
    def answer(seed: int) -> str:
        options = {"num_predict": 12, "temperature": 2, "seed": seed}
        text: str = ask(engine, stream=False, options=options).json()["message"]["content"]
        return text

    assert answer(1) == answer(1)
    assert len({answer(seed) for seed in range(4)}) > 1


def test_a_stop_word_ends_the_answer_before_it(engine: str) -> None:
    options = {"num_predict": 40, "temperature": 0, "stop": ["sky"]}
    answer = ask(engine, stream=False, options=options).json()
    assert answer["done_reason"] == "stop"
    assert "sky" not in answer["message"]["content"]


def test_an_answer_follows_a_schema(engine: str) -> None:
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


def test_the_json_format_produces_an_object(engine: str) -> None:
    for path, fields in (("/api/chat", {}), ("/api/generate", {"prompt": "Is the sky blue?"})):
        answer = ask(engine, path, stream=False, format="json", options={"num_predict": 20}, **fields).json()
        text = answer["message"]["content"] if "message" in answer else answer["response"]
        assert text.lstrip().startswith("{")


def test_log_probabilities_come_on_request(engine: str) -> None:
    for path, fields in (("/api/chat", {}), ("/api/generate", {"prompt": "x"})):
        options = {"num_predict": 2}
        (entry, _) = ask(engine, path, logprobs=True, stream=False, options=options, **fields).json()[
            "logprobs"
        ]
        assert set(entry) == {"token", "logprob", "bytes"}
