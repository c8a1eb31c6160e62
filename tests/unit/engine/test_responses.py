import json
from typing import Any

import pytest

from engine.errors import BadRequestError
from engine.responses import Responses

TIMINGS = {"cache_n": 1, "prompt_n": 4, "prompt_ms": 1.5, "predicted_n": 2, "predicted_ms": 2.25}
CHUNKS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress"}},
    {"type": "response.output_item.added", "item": {"id": "msg_1", "type": "message", "content": []}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hi"},
    {
        "type": "response.completed",
        "response": {"id": "resp_1", "status": "completed", "model": "a path", "output": [{"id": "msg_1"}]},
        "timings": TIMINGS,
    },
]


def request(**fields: Any) -> Responses:
    return Responses({"model": "m", "input": "hi", **fields})


def events(answer: Responses) -> list[dict[str, Any]]:
    frames = b"".join(answer.feed(chunk) for chunk in CHUNKS).split(b"\n\n")[:-1]
    assert all(frame.startswith(b"event: ") for frame in frames)
    return [json.loads(frame.split(b"data: ")[1]) for frame in frames]


def test_events_are_numbered_and_say_where_they_belong() -> None:
    told = events(request(stream=True))
    assert [event["sequence_number"] for event in told] == list(range(5))
    assert [event["type"] for event in told][:2] == ["response.created", "response.in_progress"]
    assert (told[3]["output_index"], told[3]["content_index"]) == (0, 0)


def test_the_end_names_the_model_as_the_client_did_and_tells_no_timings() -> None:
    answer = request()
    last = events(answer)[-1]
    assert last["response"]["model"] == "m"
    assert "timings" not in last
    assert answer.whole() == last["response"]
    assert answer.message.finish_reason == "stop"
    assert (answer.message.prompt_tokens, answer.message.output_tokens) == (5, 2)


def test_only_what_is_known_goes_to_llama() -> None:
    assert request(id_slot=3, temperature=0.5).llama() == {"input": "hi", "temperature": 0.5}


@pytest.mark.parametrize("body", [{}, {"input": "hi"}, {"model": 1, "input": "hi"}])
def test_what_is_missing_is_a_bad_request(body: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        Responses(body)
