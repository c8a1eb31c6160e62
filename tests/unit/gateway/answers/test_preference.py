"""How `Prefer` is read. https://www.rfc-editor.org/rfc/rfc7240"""

import time

import pytest

from gateway.answers.preference import Preference, preference

LONGEST = 600


def read(*values: bytes) -> Preference | None:
    return preference([(b"host", b"x"), *((b"prefer", value) for value in values)], LONGEST)


@pytest.mark.parametrize(
    "value",
    [
        b"resume=60",
        b"RESUME=60",
        b" resume = 60 ",
        b"\tresume=60\t",
        b'resume="60"',
        b"resume=60; foo",
        b"resume=60;foo=bar;baz",
        b"resume=60, resume=5",
        b"wait=10, resume=60",
        b"return=minimal,, ,resume=60,",
        b'foo="a, b", resume=60',
        b'foo="a \\", respond-async", resume=60',
        b'foo="a;resume=7", resume=60',
        b"foo; resume=7, resume=60",
        b"=, ;, =7, resume=60",
        b"r\xe9sume=7, resume=60",
    ],
)
def test_seconds(value: bytes) -> None:
    assert read(value) == Preference(60, False)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"resume",
        b"resume=",
        b"resume=0",
        b"resume=-1",
        b"resume=+1",
        b"resume=1.5",
        b"resume=1e3",
        b"resume=60s",
        b"resume=0x10",
        b"resume=1_0",
        b"resume=6 0",
        b"resume=\xb2",
        b"resume:60",
        b'resume="60',
        b"resume='60'",
        b"resume=" + b"9" * 10,
        b"resume=x, resume=60",
        b"xresume=60",
        b"resume60",
        b'"resume=60"',
        b'foo="resume=60, respond-async, resume=60"',
        b'foo="resume=60, respond-async, resume=60',
        b"foo; respond-async",
        b"respond async",
    ],
)
def test_what_is_malformed_or_says_something_else_is_ignored(value: bytes) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    "value", [b"respond-async", b"Respond-Async", b"respond-async; x=1", b"respond-async,"]
)
def test_alone_to_respond_later_waits_as_long_as_allowed(value: bytes) -> None:
    assert read(value) == Preference(LONGEST, True)


def test_no_more_than_allowed_is_applied() -> None:
    assert read(b"resume=601") == read(b"resume=999999999") == Preference(LONGEST, False)


def test_several_headers_are_one_list() -> None:
    assert read(b"respond-async", b"resume=5", b"resume=9") == Preference(5, True)
    assert read(b'foo="never closed', b"resume=5") == Preference(5, False)


def test_what_is_applied_is_said() -> None:
    assert Preference(5, False).applied == b"resume=5"
    assert Preference(5, True).applied == b"respond-async, resume=5"


def test_where_none_is_kept_nothing_is_preferred() -> None:
    assert preference([(b"prefer", b"respond-async, resume=60")], 0) is None


@pytest.mark.parametrize("part", [b'"', b"\\", b'"\\', b",", b'a="', b"a=;", b" ", b"a"])
def test_the_time_it_takes_grows_with_its_length(part: bytes) -> None:
    started = time.process_time()
    read(part * (60_000 // len(part)))
    assert time.process_time() - started < 0.5
