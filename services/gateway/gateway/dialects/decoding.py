"""JSON from upstream. Every unit of a stream is decoded, which is quicker than a search for marks in it."""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

Said = TypeVar("Said")


def decoded(decoder: msgspec.json.Decoder[Said], text: bytes) -> Said | None:
    """What `decoder` looks for in a JSON object in UTF-8; None if `text` is no such object."""
    try:
        if not text.isascii():
            text.decode()
        return decoder.decode(text)
    except (ValueError, RecursionError):
        # Half a surrogate pair is JSON, but not to msgspec.
        value = parsed(text)
        return None if value is None else msgspec.convert(value, decoder.type)


def parsed(text: bytes) -> dict[str, Any] | None:
    """The JSON object in `text`, or None if it is none."""
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def message_of(error: object) -> str:
    """The text of an error in any of the shapes in which Ollama sends one."""
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "the model server failed, and does not say why")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
