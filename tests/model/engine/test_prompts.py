"""What the model evaluates: contexts, raw prompts, and what is cut from long ones."""

from typing import Any

import pytest

from tests.integration.engines import ask
from tests.processes import Process


def test_generate_continues_from_a_context(engine: str) -> None:
    options = {"num_predict": 4, "temperature": 0}
    first = ask(engine, "/api/generate", prompt="My name is Ada.", stream=False, options=options).json()
    assert first["prompt_eval_count"] + 4 == len(first["context"])
    fields = {"prompt": "Who am I?", "context": first["context"], "stream": False, "options": options}
    second = ask(engine, "/api/generate", **fields).json()
    assert second["context"][: len(first["context"])] == first["context"]
    assert second["prompt_eval_count"] > len(first["context"])


def test_a_raw_prompt_has_no_template_and_no_context(engine: str) -> None:
    fields = {"prompt": "The sky is", "raw": True, "stream": False, "options": {"num_predict": 2}}
    answer = ask(engine, "/api/generate", **fields).json()
    assert answer["prompt_eval_count"] == 3
    assert "context" not in answer


def test_a_conversation_that_is_too_long_loses_its_oldest_messages(engine: str) -> None:
    old = {"role": "user", "content": "word " * 5000}
    new = {"role": "user", "content": "hi"}
    answer = ask(engine, messages=[old, new], stream=False, options={"num_predict": 1})
    assert answer.json()["prompt_eval_count"] < 100
    refused = ask(engine, messages=[old, new], truncate=False)
    assert refused.status_code == 400
    assert "exceeds the available context size (4096 tokens)" in refused.json()["error"]


def test_a_long_prompt_leaves_half_of_the_context_for_the_answer(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    prompt, options = "word " * 200_000, {"num_ctx": 512, "num_predict": 1}
    fields: dict[str, Any] = {"prompt": prompt, "stream": False, "options": options}
    answer = ask(url, "/api/generate", **fields).json()
    # Ollama 0.32.15 evaluates as many tokens of this megabyte.
    assert answer["prompt_eval_count"] == 258
    refused = ask(url, messages=[{"role": "user", "content": prompt}], **fields)
    assert refused.status_code == 400
    assert "exceeds the available context size (512 tokens)" in refused.json()["error"]


def test_a_long_conversation_keeps_the_newest_messages_that_fit(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    messages = [{"role": "system", "content": "Be short."}]
    messages += [{"role": "user", "content": f"{n} " + "word " * 20} for n in range(1000)]
    answer = ask(url, messages=messages, stream=False, options={"num_ctx": 512, "num_predict": 1}).json()
    assert 400 < answer["prompt_eval_count"] < 512


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
def test_the_prompt_is_shown_on_request(engine: str, path: str) -> None:
    response = ask(engine, path, prompt="Why is the sky blue?", _debug_render_only=True)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    shown = response.json()
    assert shown["done"] is False
    assert "<|im_start|>user\nWhy is the sky blue?" in shown["_debug_info"]["rendered_template"]
