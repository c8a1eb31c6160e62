"""From a request's bytes to what they say."""

from typing import Any

from starlette.datastructures import Headers

from . import bounds, wire
from .errors import BadRequestError


async def decoded(headers: Headers, body: bytes) -> Any:
    await bounds.check(body)
    try:
        return wire.loads(body)
    except BadRequestError as error:
        encoding = headers.get("content-encoding", "identity")
        if encoding == "identity":
            raise
        raise BadRequestError(f"{error.message}: Content-Encoding: {encoding} is not supported") from error
