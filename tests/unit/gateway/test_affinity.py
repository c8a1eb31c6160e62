"""What a request needs of a model server, read from its body: load options, and its conversation."""

import json
from typing import Any

import pytest

from gateway.ask.affinity import beginning, load_options
from tests.unit.gateway.bodies import read_fields, taken

SYSTEM = {"role": "system", "content": "Answer in one sentence."}
QUESTION = {"role": "user", "content": "Why is the sky blue?"}
ANSWER = {"role": "assistant", "content": "Because of Rayleigh scattering."}
NEXT = {"role": "user", "content": "And at sunset?"}


def digest(**body: object) -> bytes:
    return taken(beginning(read_fields(json.dumps(body).encode())))


def options(body: bytes) -> frozenset[tuple[str, str]]:
    return taken(load_options(read_fields(body)))


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"messages": [QUESTION]}, {"messages": [QUESTION, ANSWER, NEXT]}),
        ({"messages": [SYSTEM, QUESTION]}, {"messages": [SYSTEM, QUESTION, ANSWER, NEXT]}),
        ({"system": "s", "messages": [QUESTION]}, {"system": "s", "messages": [QUESTION, ANSWER, NEXT]}),
        ({"input": [QUESTION]}, {"input": [QUESTION, ANSWER, NEXT]}),
        ({"prompt": "Why?"}, {"prompt": "Why?", "stream": False}),
    ],
)
def test_every_turn_of_a_conversation_has_the_same_digest(
    first: dict[str, Any], later: dict[str, Any]
) -> None:
    assert digest(**first) == digest(**later) != b""


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [NEXT]},
        {"messages": [SYSTEM, QUESTION]},
        {"system": "s", "messages": [QUESTION]},
        {"messages": [{"role": "user", "content": 'Why is the "user" blue?'}]},
        {"prompt": "Why is the sky blue?"},
    ],
)
def test_conversations_that_begin_differently_have_different_digests(other: dict[str, Any]) -> None:
    assert digest(**other) != digest(messages=[QUESTION, ANSWER, NEXT])


def test_a_request_without_a_prompt_is_no_conversation() -> None:
    assert digest(model="m", messages=[]) == digest(model="m") == b""


def test_a_long_beginning_is_read_to_a_limit_only() -> None:
    long = {"role": "user", "content": "x" * 1_000_000}
    assert digest(messages=[long]) == digest(messages=[long, ANSWER])


def test_load_options_are_those_for_which_ollama_reloads_a_model() -> None:
    body = b'{"options": {"num_ctx": 8192, "temperature": 0.5, "use_mmap": false, "num_gpu": null}}'
    assert options(body) == {("num_ctx", "8192"), ("use_mmap", "false")}


def test_of_several_options_the_last_one_counts_as_in_ollama() -> None:
    body = b'{"options": {"num_ctx": 1, "num_gpu": 0}, "OPTIONS": {"NUM_CTX": 2}}'
    assert options(body) == {("num_ctx", "2"), ("num_gpu", "0")}


@pytest.mark.parametrize(
    "body", [b"{}", b'{"options": null}', b'{"options": 3}', b'{"options": {"num_ctx": [1]}}']
)
def test_a_request_without_usable_load_options_has_none(body: bytes) -> None:
    assert options(body) == frozenset()
