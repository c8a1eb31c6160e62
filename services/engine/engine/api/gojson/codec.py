"""Encodes and decodes JSON as Ollama does."""

import json
import math
from typing import Any, NoReturn

from ...errors import BadRequestError, EmptyBodyError
from .syntax_errors import go_message, quoted

# Go escapes these. They occur only inside strings, so replacing them in finished JSON is safe. The line
# separators matter: some NDJSON readers take them for the end of a line.
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def encode(value: object) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 can't represent, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace")


def encode_line(value: object) -> bytes:
    return encode(value) + b"\n"


def decode(body: bytes) -> Any:
    """The first JSON value of a body; anything after it is ignored, as Ollama does.

    Raises EmptyBodyError, or BadRequestError in Go's words.
    """
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise EmptyBodyError
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadRequestError("invalid character 'ï' looking for beginning of value")
    try:
        return _decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise BadRequestError(go_message(text, error)) from error
    except RecursionError as error:
        raise BadRequestError("invalid character '[' exceeded max depth") from error


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequestError(f"invalid character {quoted(name[0])} looking for beginning of value")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_FLOAT_DIGITS:
        _float(digits)
    return int(digits)


def _float(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise BadRequestError(f"json: cannot unmarshal number {number[:40]} into Go value of type float64")
    return value


# Integers with more digits than this don't fit into a float.
_MAX_FLOAT_DIGITS = 309

_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float)
