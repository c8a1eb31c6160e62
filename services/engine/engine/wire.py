"""JSON as Ollama reads and writes it."""

import json
from typing import Any, NoReturn

from .errors import BadRequestError, EmptyBodyError

# These characters can only stand inside strings, so replacing them in finished JSON is safe.
# The line separators matter: naive readers of NDJSON take them for the end of a line.
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def dumps(value: object) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 can't carry, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8", "replace")


def line(value: object) -> bytes:
    return dumps(value) + b"\n"


def loads(body: bytes) -> Any:
    """The first JSON value of a body; what follows it is ignored, as Ollama does."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise EmptyBodyError
    try:
        return _decoder.raw_decode(text)[0]
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            raise BadRequestError("unexpected EOF") from error
        raise BadRequestError(
            f"invalid character '{text[error.pos]}' looking for beginning of value"
        ) from error
    except RecursionError as error:
        raise BadRequestError("exceeded max depth") from error


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequestError(f"invalid character '{name[0]}' looking for beginning of value")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
