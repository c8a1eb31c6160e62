"""A server that answers byte by byte, as a test scripts it, and a client over the transport."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from gateway.backends.http1 import in_chunks
from gateway.backends.response_body import Body
from gateway.backends.transport import Transport, origin_of

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Handles each connection with `talk`, and counts them."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self.connections = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._talk(reader, writer)
        finally:
            self.closed.set()
            writer.close()


class ForHttpx(httpx.AsyncBaseTransport):
    """A transport for httpx's client, which reads whole answers."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode(), request.url.raw_path)]
        lines += [b"%b: %b\r\n" % header for header in request.headers.raw]
        head, origin = b"".join([*lines, b"\r\n"]), origin_of(request.url)
        if isinstance(request.stream, httpx.ByteStream):
            answer = await self.transport.ask(origin, head, b"".join(request.stream), None)
        else:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            answer = await self.transport.ask_once(origin, head, in_chunks(request.stream), None)
        content = bytearray()
        try:
            await answer.body.stream_into(content.extend)
        finally:
            answer.body.close()
        return httpx.Response(answer.status, headers=answer.headers, content=bytes(content))

    async def aclose(self) -> None:
        await self.transport.aclose()


@asynccontextmanager
async def client_of(
    talk: Talk, transport: Transport | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Server]]:
    server = Server(talk)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(transport=ForHttpx(transport or Transport()), base_url=url) as client:
        yield client, server
    listener.close()


@asynccontextmanager
async def body_of(client: httpx.AsyncClient) -> AsyncIterator[Body]:
    """The body of an answer, requested as `Upstream` does it, without httpx's client."""
    over = client._transport
    assert isinstance(over, ForHttpx)
    answer = await over.transport.ask(origin_of(client.base_url), b"GET / HTTP/1.1\r\n\r\n", b"", None)
    try:
        yield answer.body
    finally:
        answer.body.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*pieces: bytes) -> Talk:
    """Answers every request with the same bytes, a write each, until the client leaves."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                await head(reader)
            except asyncio.IncompleteReadError:
                return
            for piece in pieces:
                writer.write(piece)
                await writer.drain()

    return talk


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
