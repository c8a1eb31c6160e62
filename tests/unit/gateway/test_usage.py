import json
from typing import Any

import pytest

from gateway.dialects.usage import Usage, usage_of
from gateway.dialects.whole import MAX_PARSED_BYTES, Whole

OLLAMA = {
    "done": True,
    "total_duration": 9 * 10**9,
    "load_duration": 10**9,
    "prompt_eval_count": 11,
    "prompt_eval_duration": 2 * 10**9,
    "eval_count": 3,
    "eval_duration": 3 * 10**9,
}
SECONDS = {"total": 9.0, "load": 1.0, "prompt": 2.0, "generation": 3.0}
OPENAI = {"usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}}


@pytest.mark.parametrize(
    ("fields", "usage"),
    [
        (OLLAMA, Usage(11, 3, SECONDS)),
        (
            {"embedding": [], "total_duration": 10**9},
            Usage(0, 0, dict.fromkeys(SECONDS, 0.0) | {"total": 1.0}),
        ),
        (OPENAI, Usage(11, 3)),
        ({"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8, 0)),
        ({"usage": {"input_tokens": 11, "output_tokens": 3}}, Usage(11, 3)),
        ({"usage": {"prompt_tokens": "many", "completion_tokens": -1}}, Usage(0, 0)),
        ({"prompt_eval_count": 10**400, "eval_count": 1.5}, Usage(0, 0)),
        ({"usage": None}, None),
        ({"status": "success"}, None),
    ],
)
def test_what_an_answer_used_is_read_in_every_shape(fields: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of(fields) == usage


VECTORS = [[0.123456789] * 1000] * 20


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"message": {"content": "a ] b"}, **OLLAMA}, Usage(11, 3, SECONDS)),
        ({"embeddings": VECTORS, "total_duration": 10**9, "prompt_eval_count": 8}, 8),
        ({"object": "list", "data": VECTORS, "model": "m", "usage": {"prompt_tokens": 8}}, 8),
        ({"response": '"usage" ] ' * 10_000, **OLLAMA}, Usage(11, 3, SECONDS)),
        ({"message": {"content": "x" * 100_000}, **OLLAMA}, Usage(11, 3, SECONDS)),
        ({"models": []}, None),
    ],
)
def test_the_usage_of_a_large_whole_answer_is_found(answer: Any, usage: Any) -> None:
    whole = Whole(10_000_000)
    whole.open(200, "application/json")
    body = json.dumps(answer).encode()
    assert (len(body) > MAX_PARSED_BYTES) is (len(str(answer)) > 1000)
    whole.feed(body)
    assert whole.end() == body
    found = whole.usage.prompt_tokens if whole.usage and isinstance(usage, int) else whole.usage
    assert found == usage
