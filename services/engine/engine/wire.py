"""JSON as Ollama reads and writes it."""

import json
import math
from typing import Any, NoReturn

from . import bounds
from .errors import BadRequestError, EmptyBodyError
from .malformed import quoted, words

# These characters can only stand inside strings, so replacing them in finished JSON is safe.
# The line separators matter: naive readers of NDJSON take them for the end of a line.
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def plain(value: object) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 can't carry, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def dumps(value: object) -> bytes:
    """The same with what Go escapes, for clients."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace")


def line(value: object) -> bytes:
    return dumps(value) + b"\n"


def loads(body: bytes) -> Any:
    """The first JSON value of a body; what follows it is ignored, as Ollama does."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise EmptyBodyError
    if body.startswith(b"\xef\xbb\xbf"):
        raise BadRequestError("invalid character 'ï' looking for beginning of value")
    try:
        return _decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        raise BadRequestError(words(text, error)) from error
    except RecursionError as error:
        raise BadRequestError("invalid character '[' exceeded max depth") from error


def loads_object(text: str, refusal: str) -> dict[str, Any]:
    """An object that stands in a string, as a call's arguments do."""
    data = text.encode("utf-8", "replace")
    bounds.check_at_once(data)
    try:
        value = loads(data)
    except BadRequestError as error:
        raise BadRequestError(refusal) from error
    if value is not None and not isinstance(value, dict):
        raise BadRequestError(refusal)
    return value or {}


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequestError(f"invalid character {quoted(name[0])} looking for beginning of value")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_FLOAT:
        _float(digits)
    return int(digits)


def _float(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise BadRequestError(f"json: cannot unmarshal number {number[:40]} into Go value of type float64")
    return value


# Integers of more digits than this don't fit into a float.
_LONGEST_FLOAT = 309

_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_integer, parse_float=_float)
