import pytest

from engine import wire
from engine.errors import BadRequestError, EmptyBodyError


def test_json_is_written_as_go_writes_it() -> None:
    assert wire.dumps({"a": "<é&\u2028>"}) == '{"a":"\\u003cé\\u0026\\u2028\\u003e"}'.encode()


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    assert wire.dumps(wire.loads(b'"\\ud800"')) == b'"?"'


def test_what_follows_the_first_value_is_ignored() -> None:
    assert wire.loads(b' {"a": 1} rest') == {"a": 1}


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_has_an_error_of_its_own(body: bytes) -> None:
    with pytest.raises(EmptyBodyError):
        wire.loads(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "unexpected EOF"),
        (b'{"a', "unexpected EOF"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"\xff", "invalid character"),
        (b"NaN", "invalid character 'N'"),
        (b"[" * 100_000, "exceeded max depth"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        wire.loads(body)
