"""Members of a body are replaced, added and removed; what is left is what it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ask.edits import MAX_EDITS, Edits
from gateway.errors import InvalidRequest
from tests.unit.gateway.bodies import read_fields

VALUES = st.sampled_from([None, 1, -0.5, "a,}", "{", [], [1, {"a": 2}], {"b": {"a": 1}}])
MEMBERS = st.lists(st.tuples(st.sampled_from(["a", "b", 'c"', "d,"]), VALUES), max_size=6)


class Pairs(list[Any]):
    """An object with all of its members, in order."""


def decoded(body: bytes) -> object:
    return json.loads(body, object_pairs_hook=Pairs)


def written(members: list[tuple[str, Any]], space: str) -> bytes:
    inner = f"{space},{space}".join(f"{json.dumps(n)}{space}:{space}{json.dumps(v)}" for n, v in members)
    return f"{space}{{{space}{inner}{space}}}{space}".encode()


def removed(body: bytes, *names: str) -> bytes:
    edits = Edits(body, "does it")
    edits.remove(read_fields(body).members, body.index(b"{"), names)
    return edits.applied()


@given(
    members=MEMBERS,
    names=st.sets(st.sampled_from(["a", "b", 'c"'])),
    space=st.sampled_from(["", " ", "\r\n"]),
)
def test_after_removing_members_the_others_are_left_in_their_order(
    members: list[tuple[str, Any]], names: set[str], space: str
) -> None:
    body = removed(written(members, space), *names)
    left = [(name, value) for name, value in members if name not in names]
    assert decoded(body) == decoded(written(left, ""))
    if left == members:
        assert body == written(members, space)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a":1}', b"{}"),
        (b'{ "a" : 1 }', b"{ }"),
        (b'{"a":1,"b":2}', b'{"b":2}'),
        (b'{"b":2, "a":1}', b'{"b":2}'),
        (b'{"b":2, "a":1, "c":3}', b'{"b":2, "c":3}'),
        (b'{"a":1,"a":2,"b":3,"a":4}', b'{"b":3}'),
        (b'{"b":1 ,"a":{"b":2}}\n', b'{"b":1}\n'),
    ],
)
def test_a_member_goes_with_its_comma(body: bytes, expected: bytes) -> None:
    assert removed(body, "a") == expected


def test_a_body_without_edits_is_the_same_object() -> None:
    body = b'{"b":1}'
    assert removed(body, "a") is body


def test_edits_may_be_made_in_any_order() -> None:
    body = b'{"a":1,"b":{"c":2},"d":3}'
    (_, a), (_, b), (_, d) = members = read_fields(body).members
    edits = Edits(body, "does it")
    edits.add(members, 0, b'"e":5')
    edits.replace(d, b"4")
    edits.add([], b.start, b'"x":0,')
    edits.replace(a, b"10")
    assert edits.applied() == b'{"a":10,"b":{"x":0,"c":2},"d":4,"e":5}'


def test_a_body_that_needs_very_many_edits_is_refused() -> None:
    body = b"{%b}" % b",".join([b'"a":1'] * (MAX_EDITS + 1))
    with pytest.raises(InvalidRequest, match="the request does it too many times"):
        removed(body, "a")
