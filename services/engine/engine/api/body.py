"""Reads and decodes request bodies within the limits."""

import asyncio
from collections.abc import AsyncIterable
from typing import Any

from starlette.datastructures import Headers

from ..errors import BadRequestError
from . import limits
from .gojson import codec


async def collect(parts: AsyncIterable[bytes]) -> bytes:
    """The whole body. Raises TooLargeError as soon as it exceeds the limit."""
    collected: list[bytes] = []
    size = 0
    async for part in parts:
        collected.append(part)
        size += len(part)
        limits.check_size(size)
    return b"".join(collected)


async def decode(headers: Headers, body: bytes) -> Any:
    """The JSON value of a body. Raises BadRequestError if it is malformed, encoded or too complex."""
    await limits.check_structure(body)
    try:
        value = codec.decode(body)
    except BadRequestError as error:
        encoding = headers.get("content-encoding", "identity")
        if encoding == "identity":
            raise
        raise BadRequestError(f"{error.message}: Content-Encoding: {encoding} is not supported") from error
    # Decoding megabytes took a while, and so will processing them: others get their turn in between.
    await asyncio.sleep(0)
    return value


def decode_nested(text: str, message: str) -> dict[str, Any]:
    """An object inside a JSON string, such as a tool call's arguments. Raises BadRequestError(message)."""
    data = text.encode("utf-8", "replace")
    limits.check_structure_now(data)
    try:
        value = codec.decode(data)
    except BadRequestError as error:
        raise BadRequestError(message) from error
    if value is not None and not isinstance(value, dict):
        raise BadRequestError(message)
    return value or {}
