"""Requests and answers, complete and broken, however they are split."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest

from gateway.backends.transport import Transport
from tests.unit.gateway.transport.server import OK, answering, client_of, head


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ],
    ids=["length", "chunked", "after 100"],
)
@pytest.mark.parametrize("split", [1, 7, 10_000])
async def test_an_answer_is_read_however_it_comes_and_its_connection_is_used_again(
    answer: bytes, split: int
) -> None:
    pieces = [answer[at : at + split] for at in range(0, len(answer), split)]
    async with client_of(answering(*pieces)) as (client, server):
        for _ in range(3):
            response = await client.get("/")
            assert (response.status_code, response.content) == (200, b"ok")
        assert server.connections == 1


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with client_of(talk) as (client, _):
        assert (await client.get("/")).text == "until the end"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "200 OK"])
async def test_an_answer_that_can_have_no_body_is_not_waited_for(status: str) -> None:
    async with client_of(answering(f"HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n".encode())) as (
        client,
        _,
    ):
        response = await client.head("/")
        assert response.content == b""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnothing", httpx.RemoteProtocolError),
        (b"220 mail ready\r\n", httpx.RemoteProtocolError),
    ],
)
async def test_an_answer_that_breaks_off_or_is_not_http_is_an_error(
    answer: bytes, error: type[Exception]
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(answer)

    async with client_of(talk) as (client, _):
        with pytest.raises(error):
            await client.get("/")


async def test_a_request_body_goes_out_in_chunks_as_it_comes() -> None:
    received: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await head(reader))
        received.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b""
        yield b"two"

    async with client_of(talk) as (client, _):
        assert (await client.post("/", content=pieces())).text == "ok"
    assert b"transfer-encoding: chunked" in received[0].lower()
    assert received[1] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_a_refusal_that_comes_before_the_whole_request_is_the_answer_and_the_last_one() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    transport = Transport()
    async with client_of(talk, transport) as (client, _):
        assert (await client.post("/", content=endless())).status_code == 413
        assert transport.idle == 0


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# What may have left towards a reader that has given up: the system's buffers, and some more.
MOST = 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("start", "goes_on"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n" * 5000),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"a" * 50_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
        (CHUNKED_ANSWER + b"0\r\nX-A: ", b"a" * 50_000),
        (CHUNKED_ANSWER + b"1;a=", b"a" * 50_000),
    ],
    ids=["headers", "a header", "informational heads", "a trailer", "a chunk's extension"],
)
async def test_a_head_without_end_is_given_up(start: bytes, goes_on: bytes) -> None:
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await head(reader)
        writer.write(start)
        with suppress(ConnectionError):
            while written < MOST:
                writer.write(goes_on)
                await writer.drain()
                written += len(goes_on)

    async with client_of(talk) as (client, _), asyncio.timeout(30):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")
    assert written < MOST
