"""When a connection is used again, closed or replaced."""

import asyncio

import httpx
import pytest

from gateway.backends.transport import Transport, origin_of
from tests.unit.gateway.transport.server import OK, ForHttpx, Talk, answering, body_of, client_of, head


async def test_nobody_listening_is_a_connect_error() -> None:
    async with httpx.AsyncClient(transport=ForHttpx(Transport())) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:9/")


async def test_leaving_a_body_before_its_end_closes_the_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert await reader.read() == b""

    async with client_of(talk) as (client, server):
        async with body_of(client) as body:
            await body.stream_into(lambda _: body.stop())
        async with asyncio.timeout(10):
            await server.closed.wait()


async def test_a_cancelled_request_closes_its_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        asked.set()
        assert await reader.read() == b""

    asked = asyncio.Event()
    async with client_of(talk) as (client, server):
        asking = asyncio.create_task(client.get("/"))
        await asked.wait()
        asking.cancel()
        async with asyncio.timeout(10):
            await server.closed.wait()


async def test_a_connection_that_the_server_closed_while_idle_is_not_used() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)

    transport = Transport()
    async with client_of(talk, transport) as (client, server):
        for _ in range(3):
            assert (await client.get("/")).text == "ok"
            async with asyncio.timeout(10):
                while transport.idle:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.001)
        assert server.connections == 3


def answering_once(*then: bytes) -> Talk:
    """Each connection answers one request, and gives up in the middle of the next one, after `then`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await head(reader)
        writer.writelines(then)
        await writer.drain()

    return talk


async def test_a_kept_connection_that_dies_before_an_answer_is_replaced_by_a_new_one() -> None:
    async with client_of(answering_once()) as (client, server):
        for count in (1, 2, 3):
            assert (await client.get("/")).text == "ok"
            assert server.connections == count


async def test_once_something_of_the_answer_has_come_it_is_not_asked_again() -> None:
    async with client_of(answering_once(b"HTTP/1.1 200 OK\r\nContent-")) as (client, server):
        await client.get("/")
        with pytest.raises(httpx.ReadError):
            await client.get("/")
        assert server.connections == 1


async def test_a_new_connection_that_dies_is_not_tried_again() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)

    async with client_of(talk) as (client, server):
        with pytest.raises(httpx.ReadError):
            await client.get("/")
        assert server.connections == 1


async def test_what_must_not_be_asked_twice_has_a_connection_of_its_own() -> None:
    transport = Transport()
    async with client_of(answering(OK), transport) as (client, server):
        origin = origin_of(client.base_url)
        for count in (1, 2):
            answer = await transport.ask_once(origin, b"POST / HTTP/1.1\r\n\r\n", b"", None)
            await answer.body.stream_into(lambda _: None)
            answer.body.close()
            assert server.connections == count
