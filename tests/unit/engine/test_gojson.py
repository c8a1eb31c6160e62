import pytest

from engine.api.body import decode_nested
from engine.api.gojson import codec
from engine.errors import BadRequestError, EmptyBodyError


def test_json_is_written_as_go_writes_it() -> None:
    assert codec.encode({"a": "<é&\u2028>"}) == '{"a":"\\u003cé\\u0026\\u2028\\u003e"}'.encode()


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    assert codec.encode(codec.decode(b'"\\ud800"')) == b'"?"'


def test_what_follows_the_first_value_is_ignored() -> None:
    assert codec.decode(b' {"a": 1} rest') == {"a": 1}


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_has_an_error_of_its_own(body: bytes) -> None:
    with pytest.raises(EmptyBodyError):
        codec.decode(body)


# What Ollama 0.32.15 says of each.
MALFORMED = {
    b"{": "unexpected EOF",
    b'{"a': "unexpected EOF",
    b'{"a":tr': "unexpected EOF",
    b"x": "invalid character 'x' looking for beginning of value",
    b"\x1f\x8b": "invalid character '\\x1f' looking for beginning of value",
    b"\xef\xbb\xbf{}": "invalid character 'ï' looking for beginning of value",
    b"NaN": "invalid character 'N' looking for beginning of value",
    b'{"a":1,}': "invalid character '}' looking for beginning of object key string",
    b"{'a':1}": "invalid character '\\'' looking for beginning of object key string",
    b'{"a" 1}': "invalid character '1' after object key",
    b'{"a":01}': "invalid character '1' after object key:value pair",
    b'{"a":[1 2]}': "invalid character '2' after array element",
    b'{"a":-}': "invalid character '}' in numeric literal",
    b'{"a":tru}': "invalid character '}' in literal true (expecting 'e')",
    b'{"a":"b\nc"}': "invalid character '\\n' in string literal",
    b'{"a":"\\q"}': "invalid character 'q' in string escape code",
    b'{"a":"\\u12"}': "invalid character '\"' in \\u hexadecimal character escape",
    b"[" * 100_000: "invalid character '[' exceeded max depth",
}


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: body[:12])
def test_what_is_not_json_is_refused_in_gos_words(body: bytes) -> None:
    with pytest.raises(BadRequestError) as caught:
        codec.decode(body)
    assert caught.value.message == MALFORMED[body]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000])
def test_a_number_that_no_float_holds_is_refused(number: str) -> None:
    with pytest.raises(BadRequestError, match=r"cannot unmarshal number .* of type float64"):
        codec.decode(f'{{"options":{{"seed":{number}}}}}'.encode())


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '"x"'])
def test_what_stands_in_a_string_and_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="not this"):
        decode_nested(text, "not this")


def test_an_object_in_a_string_is_read() -> None:
    assert decode_nested('{"a":[1]}', "no") == {"a": [1]}
    assert decode_nested("null", "no") == {}
