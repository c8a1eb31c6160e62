"""A request's body: read as a whole, within a limit, or passed on as it comes."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from ..errors import BodyTooLarge, ClientGone

LEFT = "the client left before its request was complete"


async def read_body(request: Request, limit: int) -> bytes:
    """Raises BodyTooLarge, ClientGone."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            pieces.append(piece)
    except ClientDisconnect:
        raise ClientGone(LEFT) from None
    return b"".join(pieces)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {limit} bytes")


class Upload:
    """A body that goes upstream as it comes, never held. Until it is complete, it alone may receive."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._complete = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._request.stream():
                yield piece
        except ClientDisconnect:
            raise ClientGone(LEFT) from None
        finally:
            self._complete.set()

    def after(self, receive: Receive) -> Receive:
        """`receive` for those who come after the body."""

        async def later() -> Message:
            await self._complete.wait()
            return await receive()

        return later
