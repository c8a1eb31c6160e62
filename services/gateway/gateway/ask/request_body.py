"""A request's body: read completely, within a limit, or forwarded as it arrives."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from ..errors import BodyTooLarge, ClientGone

DISCONNECTED = "the client disconnected before its request was complete"


async def read_body(request: Request, limit: int) -> bytes:
    """Read the whole body. Raises BodyTooLarge, ClientGone."""
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
        raise ClientGone(DISCONNECTED) from None
    return b"".join(pieces)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the request body is larger than {limit} bytes")


class Upload:
    """A body forwarded as it arrives, never buffered. Until its end nothing else may call `receive`."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._complete = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._request.stream():
                yield piece
        except ClientDisconnect:
            raise ClientGone(DISCONNECTED) from None
        finally:
            self._complete.set()

    def after(self, receive: Receive) -> Receive:
        """A `receive` that waits until the body is complete."""

        async def later() -> Message:
            await self._complete.wait()
            return await receive()

        return later
