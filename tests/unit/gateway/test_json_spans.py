"""Bodies of requests are read as any decoder reads them, without holding anybody up."""

import gzip
import json
import re
import sys
from collections.abc import Generator
from re import _parser
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ask import json_spans
from gateway.ask.json_spans import MAX_DEPTH, MAX_FIELDS, MAX_PARTS, Span, document, items, members
from gateway.errors import InvalidRequest
from tests.unit.gateway.bodies import read_fields, taken

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Pairs(list[tuple[str, Any]]):
    """An object with all of its members, also those of the same name."""


@settings(max_examples=500, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.text(max_size=80), ANY_JSON), max_size=6),
    indent=st.none() | st.sampled_from(["", "\t", " \r\n"]),
    ascii_only=st.booleans(),
)
def test_members_and_items_are_those_that_a_decoder_finds(
    pairs: list[tuple[str, Any]], indent: str | None, ascii_only: bool
) -> None:
    def dumped(value: object) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    text = f" {{{','.join(f'{dumped(name)} : {dumped(value)}' for name, value in pairs)} }} "
    body = text.encode(errors="surrogatepass")
    found = taken(document(body))
    assert [name for name, _ in found] == [
        name if ascii_only else name.encode(errors="surrogatepass").decode(errors="replace")
        for name, _ in pairs
    ]
    for (_, span), (_, value) in zip(found, pairs, strict=True):
        assert decoded(body, span) == value
        if isinstance(value, list):
            assert [decoded(body, item) for item in taken(items(body, span))] == value
        else:
            assert not taken(items(body, span)) or not isinstance(value, dict)
        if isinstance(value, dict):
            inside = {name: decoded(body, at) for name, at in taken(members(body, span))}
            assert list(inside.values()) == list(value.values())
        else:
            assert taken(members(body, span)) == []


def decoded(body: bytes, span: Span) -> Any:
    return json.loads(body[span.start : span.end].decode(errors="surrogatepass"))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\ ntrue0', max_size=40).map(str.encode))
def test_whatever_a_decoder_takes_is_read_alike_and_nothing_else_breaks_anything(body: bytes) -> None:
    try:
        pairs = json.loads(body.decode(), object_pairs_hook=Pairs)
    except ValueError:
        pairs = None
    try:
        found = taken(document(body))
    except InvalidRequest:
        assert not isinstance(pairs, Pairs) or body.startswith(b"\xef\xbb\xbf")
        return
    if isinstance(pairs, Pairs):
        assert [name for name, _ in found] == [name for name, _ in pairs]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b" \n", "is empty; send a JSON object"),
        (b"[]", "is a JSON array; send an object"),
        (b'"{}"', "is a JSON string; send an object"),
        (b"-1", "is a JSON number; send an object"),
        (b"true", "is a JSON boolean; send an object"),
        (b"null", "is a JSON null; send an object"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        ('{"model":"m"}'.encode("utf-16"), "begins with a byte order mark"),
        (gzip.compress(b"{}", mtime=0), "is compressed; send it uncompressed"),
        (b"nonsense", "not valid JSON: expected an object at line 1, column 1 (byte 0)"),
        (
            b'{"model":"m"}\n{"model":"n"}',
            "has extra data after its JSON object, at line 2, column 1 (byte 14)",
        ),
        (b'{"model":"m"', "is truncated: expected a comma or a closing bracket at its end"),
        (b'{"model":"m","messages":[{"role":"us', "ends within the string at line 1, column 34"),
        (b'{"messages":[{"role":"user"', "ends within the value at line 1, column 13"),
        (b'{"model":"m\\"}', "ends within the string at line 1, column 10"),
        (
            b'{\n "model": "m"\n "stream": true}',
            "expected a comma or a closing bracket at line 2, column 14",
        ),
        (b"{model:1}", "expected a field name and a colon at line 1, column 2"),
        (b'{"model":}', "expected a value at line 1, column 10"),
        (b'{"model":"m",}', "expected a field name and a colon at line 1, column 14"),
        (b'{"mod\\xel":1}', "invalid field name at line 1, column 2"),
    ],
)
def test_what_cannot_be_read_is_refused_with_where_and_why(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        taken(document(body))
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"a":' + b"[" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} levels deep"),
        (b'{"a":[' + b"[]," * MAX_PARTS + b"[]]}", f"more than {MAX_PARTS} objects and arrays"),
        (b'{"a":1' + b',"a":1' * MAX_FIELDS + b"}", f"more than {MAX_FIELDS} fields"),
    ],
)
def test_what_nobody_needs_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        taken(document(body))


def test_what_people_do_need_is_far_below_that() -> None:
    conversation = [{"role": "user", "content": "a", "images": []} for _ in range(50_000)]
    body = json.dumps({"model": "m", "messages": conversation}).encode()
    assert read_fields(body).get("model") == "m"


SIZE = 9_800_000
HEAVY = {
    "arrays": b'{"x":[' + b"[]," * (SIZE // 3) + b"[]]}",
    "messages": b'{"messages":[' + b'{"role":"user","content":"a"},' * 300_000 + b"{}]}",
    "fields": b'{"":1' + b',"":1' * (SIZE // 5) + b"}",
    "strings": b'{"input":[' + b'"",' * (SIZE // 3) + b'""]}',
    "numbers": b'{"context":[' + b"1," * (SIZE // 2) + b"1]}",
    "escapes": b'{"prompt":"' + b'\\"' * (SIZE // 2) + b'"}',
    "escapes in a list": b'{"input":["' + b"\\\\" * (SIZE // 2) + b'"]}',
    "one endless string": b'{"prompt":"' + b"\\n" * (SIZE // 2),
    "a name of escapes": b'{"' + b"\\n" * (SIZE // 2) + b'":1}',
    "depth": b'{"x":' + b"[" * SIZE,
    "spaces": b'{"x":' + b" " * SIZE + b"1}",
    "images": b'{"messages":[{"images":["' + b"A" * SIZE + b'"]}]}',
}
# What may hold everybody up between two yields, counted: lines of Python, and bytes of one match.
# A thousand steps of the longest loop are some fifteen thousand lines.
MOST_LINES = 25_000
MOST_BYTES = 512 * 1024


@pytest.mark.parametrize("body", HEAVY.values(), ids=HEAVY)
def test_no_step_is_long_however_heavy_the_body(body: bytes) -> None:
    assert longest_step(document(body)) <= MOST_LINES


def test_no_match_is_long_however_heavy_the_body() -> None:
    patterns = [value for value in vars(json_spans).values() if isinstance(value, re.Pattern)]
    assert patterns
    for pattern in patterns:
        _, most = _parser.parse(pattern.pattern.decode("latin-1"), pattern.flags).getwidth()
        assert most <= MOST_BYTES, pattern


def longest_step(steps: Generator[None, None, Any]) -> int:
    """In lines of Python."""
    lines, longest, ended = 0, 0, False

    def trace(_: FrameType, event: str, __: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    while not ended:
        lines = 0
        sys.settrace(trace)
        try:
            next(steps)
        except (StopIteration, InvalidRequest):
            ended = True
        finally:
            sys.settrace(None)
        longest = max(longest, lines)
    return longest
