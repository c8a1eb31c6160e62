"""From a request's bytes to what they say."""

import asyncio
from typing import Any

from starlette.datastructures import Headers

from . import bounds, wire
from .errors import BadRequestError


async def decoded(headers: Headers, body: bytes) -> Any:
    await bounds.check(body)
    try:
        value = wire.loads(body)
    except BadRequestError as error:
        encoding = headers.get("content-encoding", "identity")
        if encoding == "identity":
            raise
        raise BadRequestError(f"{error.message}: Content-Encoding: {encoding} is not supported") from error
    # Megabytes have taken their time, and what is made of them will.
    await asyncio.sleep(0)
    return value
