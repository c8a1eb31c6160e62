"""Decodes JSON from upstream. Decoding every unit is faster than searching it for markers."""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

Decoded = TypeVar("Decoded")


def decoded(decoder: msgspec.json.Decoder[Decoded], text: bytes) -> Decoded | None:
    """Decode a JSON object in UTF-8; None if `text` is not one."""
    try:
        if not text.isascii():
            text.decode()
        return decoder.decode(text)
    except (ValueError, RecursionError):
        # msgspec rejects an unpaired surrogate escape, which is valid JSON.
        value = parsed(text)
        return None if value is None else msgspec.convert(value, decoder.type)


def parsed(text: bytes) -> dict[str, Any] | None:
    """The JSON object in `text`, or None if it is not one."""
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def message_of(error: object) -> str:
    """The text of an error in any of the shapes in which Ollama sends one."""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "the model server failed without giving a reason")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
