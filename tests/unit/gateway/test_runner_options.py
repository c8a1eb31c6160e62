"""Options for which a model is loaded anew are taken out of requests, or made the same in all of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ask.affinity import RELOADING, load_options
from gateway.ask.edits import MAX_EDITS
from gateway.ask.runner_options import (
    MAX_CONTEXT,
    MAX_REMEMBERED,
    REMEMBERED_SECONDS,
    Contexts,
    context_of,
    stripped,
    with_context,
)
from gateway.errors import InvalidRequest
from tests.unit.gateway.bodies import read_fields, taken


def without(body: bytes) -> bytes:
    return taken(stripped(body, read_fields(body)))


def larger(body: bytes, size: int = 8192) -> bytes:
    return taken(with_context(body, read_fields(body), size))


def context(body: bytes) -> int | None:
    return context_of(taken(load_options(read_fields(body))))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"options":{"num_ctx":1}}', b'{"options":{}}'),
        (b'{"options": {"num_ctx":1, "seed":1 } }', b'{"options": {"seed":1 } }'),
        (b'{"options":{"seed":1,"num_gpu":-1,"main_gpu":0}}', b'{"options":{"seed":1}}'),
        (
            b'{"options":{"num_ctx":null,"num_ctx":[1]},"Options":{"num_thread":1}}',
            b'{"options":{},"Options":{}}',
        ),
        (b'{"options":null,"options":{"use_mmap":false}}', b'{"options":null,"options":{}}'),
        (b'{"num_ctx":1,"options":{"NUM_CTX":1,"x":{"num_ctx":1}}}',) * 2,
        (b'{"options":"num_ctx"}',) * 2,
        (b"{}",) * 2,
    ],
)
def test_options_that_reload_are_stripped_and_all_else_stays(body: bytes, expected: bytes) -> None:
    assert without(body) == expected


@pytest.mark.parametrize("name", RELOADING)
def test_each_of_them(name: str) -> None:
    assert without(b'{"options":{"%b":1,"top_k":2}}' % name.encode()) == b'{"options":{"top_k":2}}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m"}', b'{"model":"m","options":{"num_ctx":8192}}'),
        (b'{"options":{}}', b'{"options":{"num_ctx":8192}}'),
        (b'{"options":{"seed":1 }}', b'{"options":{"seed":1,"num_ctx":8192 }}'),
        (b'{"options":{"num_ctx": 4096.5 , "seed":1}}', b'{"options":{"num_ctx": 8192 , "seed":1}}'),
        (b'{"options":{"num_ctx":1,"num_ctx":null}}', b'{"options":{"num_ctx":8192,"num_ctx":8192}}'),
        (
            b'{"options":{"num_ctx":1},"options":null}',
            b'{"options":{"num_ctx":8192},"options":null,"options":{"num_ctx":8192}}',
        ),
        (
            b'{"options":{"num_ctx":1},"Options":{"seed":1}}',
            b'{"options":{"num_ctx":8192},"Options":{"seed":1,"num_ctx":8192}}',
        ),
    ],
)
def test_a_context_is_replaced_or_added_and_all_else_stays(body: bytes, expected: bytes) -> None:
    assert larger(body) == expected


SCALARS: st.SearchStrategy[Any] = st.sampled_from([None, 1, 4096, 10**6, "x", True])
OPTIONS = st.none() | st.dictionaries(st.sampled_from(["num_ctx", "num_gpu", "seed", "Num_Ctx"]), SCALARS)


@given(members=st.lists(st.tuples(st.sampled_from(["options", "OPTIONS", "model"]), OPTIONS), max_size=4))
def test_however_often_options_occur_the_model_server_reads_what_is_meant(members: list[Any]) -> None:
    body = b"{%b}" % ",".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in members).encode()
    assert context(larger(body)) == 8192
    assert taken(load_options(read_fields(without(body)))) == frozenset()


def test_a_body_with_very_many_contexts_is_refused() -> None:
    body = b'{"options":{%b}}' % b",".join([b'"num_ctx":1'] * (MAX_EDITS + 1))
    for change in (without, larger):
        with pytest.raises(InvalidRequest, match="too many times"):
            change(body)


@pytest.mark.parametrize(
    ("value", "size"),
    [(b"8192", 8192), (b"-1", -1), (b"8192.9", 8192), (b'"8192"', None), (b"null", None), (b"true", None)],
)
def test_the_context_is_a_whole_number(value: bytes, size: int | None) -> None:
    assert context(b'{"options":{"num_ctx":%b}}' % value) == size


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_largest_context_of_the_last_hour_counts_for_its_model() -> None:
    clock = Clock()
    contexts = Contexts(clock)
    assert contexts.largest("m") is None
    contexts.ask("m", 8192)
    clock.now += REMEMBERED_SECONDS / 2
    contexts.ask("m", 4096)
    contexts.ask("m", 2048)
    assert (contexts.largest("m"), contexts.largest("other")) == (8192, None)
    clock.now += REMEMBERED_SECONDS / 2
    assert contexts.largest("m") == 4096
    clock.now += REMEMBERED_SECONDS / 2
    assert contexts.largest("m") is None


def test_a_context_that_failed_is_forgotten_with_those_that_are_larger() -> None:
    contexts = Contexts()
    for size in (32768, 16384, 8192):
        contexts.ask("m", size)
    contexts.forget("m", 16384)
    assert contexts.largest("m") == 8192
    contexts.forget("other", 1)


@pytest.mark.parametrize("size", [0, -1, MAX_CONTEXT + 1, 10**30])
def test_a_context_that_no_model_has_is_not_remembered(size: int) -> None:
    contexts = Contexts()
    contexts.ask("m", size)
    assert contexts.largest("m") is None


def test_few_contexts_of_a_model_are_remembered_and_the_largest_for_longest() -> None:
    contexts = Contexts()
    for size in range(1000, 0, -1):
        contexts.ask("m", size)
    assert contexts.largest("m") == 1000
    assert len(contexts._asked["m"]) == MAX_REMEMBERED
