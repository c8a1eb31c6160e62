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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b'{"options": {"num_ctx": 1, "num_gpu": 0}, "OPTIONS": {"num_ctx": 2}}',
            {"num_ctx": 2, "num_gpu": 0},
        ),
        (b'{"options": {"num_ctx": 1, "NUM_CTX": 2}}', {"num_ctx": 1}),
        (b'{"options": {"num_ctx": 1}, "options": {"num_ctx": null, "num_gpu": 0}}', {"num_gpu": 0}),
        (b'{"options": {"num_ctx": 1}, "Options": null}', {}),
        (b'{"options": null, "Options": {"num_ctx": 1}}', {"num_ctx": 1}),
        (b'{"options": {"num_ctx": 8192.0, "num_gpu": 8.9}}', {"num_ctx": 8192, "num_gpu": 8}),
        (b'{"options": {"num_gpu": -1, "draft_num_predict": 2}}', {"draft_num_predict": 2}),
    ],
)
def test_several_options_are_merged_as_in_ollama(body: bytes, expected: dict[str, int]) -> None:
    assert options(body) == {(name, str(value)) for name, value in expected.items()}


@pytest.mark.parametrize(
    "first",
    [
        b'{"content": "%b", "role": "user"}' % (b"x" * 20_000),
        b'{"role": "\\u0075ser", "content": "Why?"}',
        b'{"ROLE": "user", "content": "Why?"}',
        b'{"role": "system", "role": "user", "content": "Why?"}',
    ],
    ids=["its role after a long content", "an escape in its role", "its role in capitals", "two roles"],
)
def test_the_first_message_of_a_user_is_recognised_as_ollama_does(first: bytes) -> None:
    def of(*messages: bytes) -> bytes:
        return taken(beginning(read_fields(b'{"messages": [%b]}' % b",".join(messages))))

    assert of(first) == of(first, b'{"role": "assistant", "content": "Because."}', b'{"role": "user"}')


def test_what_a_message_says_is_not_taken_for_its_role() -> None:
    system = {"role": "system", "content": "x", "tool_calls": [{"role": "user"}]}
    assert digest(messages=[system, QUESTION]) != digest(messages=[system, NEXT])


@pytest.mark.parametrize(
    "body", [b"{}", b'{"options": null}', b'{"options": 3}', b'{"options": {"num_ctx": [1]}}']
)
def test_a_request_without_usable_load_options_has_none(body: bytes) -> None:
    assert options(body) == frozenset()
