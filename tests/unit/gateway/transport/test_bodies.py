"""A body that is streamed into a sink: reads, back-pressure, and errors of the sink."""

import asyncio
from collections.abc import Awaitable

import httpx
import pytest

from gateway.backends.response_body import MAX_AHEAD, Body
from tests.unit.gateway.transport.server import OK, answering, body_of, client_of, head


async def test_what_is_poured_comes_read_by_read_without_a_task_switch() -> None:
    goes_on = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        await goes_on.wait()
        writer.write(b"1\r\nc\r\n0\r\n\r\n")

    taken: list[tuple[bytes, object]] = []

    def sink(data: bytes) -> None:
        taken.append((data, asyncio.current_task()))
        goes_on.set()

    async with client_of(talk) as (client, _), body_of(client) as body:
        await body.stream_into(sink)
    assert [data for data, _ in taken] == [b"ab", b"c"]
    assert taken[1][1] is None


async def test_a_sink_that_has_to_wait_holds_the_server_back() -> None:
    written = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 1024 * 1024))
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    release = asyncio.Event()
    sizes: list[int] = []

    async def wait() -> None:
        await release.wait()

    def sink(data: bytes) -> Awaitable[None] | None:
        sizes.append(len(data))
        return None if release.is_set() else wait()

    async with client_of(talk) as (client, _), body_of(client) as body:
        pouring = asyncio.create_task(body.stream_into(sink))
        before = -1
        while written != before:  # until the server is held back for a while
            before = written
            await asyncio.sleep(0.2)
        assert written < 32 * 1024 * 1024
        release.set()
        await pouring
    assert sum(sizes) == 64 * 1024 * 1024
    assert max(sizes) < MAX_AHEAD + 512 * 1024


async def test_a_connection_is_used_again_after_a_large_answer_that_came_in_one_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.backends.response_body.MAX_AHEAD", 1)
    async with client_of(answering(OK)) as (client, server):
        for _ in range(2):
            taken: list[bytes] = []
            async with asyncio.timeout(10), body_of(client) as body:
                await body.stream_into(taken.append)
            assert taken == [b"ok"]
        assert server.connections == 1


async def test_what_the_sink_raises_is_raised_also_if_more_has_come_by_then() -> None:
    def sink(data: bytes) -> None:
        raise ValueError(data)

    body = Body(asyncio.ReadTransport(), lambda: None)
    pouring = asyncio.create_task(body.stream_into(sink))
    await asyncio.sleep(0)
    for data in (b"first", b"second"):  # both before the task goes on
        body.append(data)
        body.end_of_read()
    with pytest.raises(ValueError, match="first"):
        await pouring


async def test_what_the_sink_raises_ends_the_pouring() -> None:
    def sink(data: bytes) -> None:
        raise ValueError("no more")

    async with client_of(answering(OK)) as (client, _), body_of(client) as body:
        with pytest.raises(ValueError, match="no more"):
            await body.stream_into(sink)


async def test_a_stopped_pouring_can_go_on() -> None:
    async with client_of(answering(OK[:-1], b"k")) as (client, server):
        for _ in range(2):
            taken: list[bytes] = []
            async with body_of(client) as body:

                def sink(data: bytes, body: Body = body, taken: list[bytes] = taken) -> None:
                    taken.append(data)
                    body.stop()

                while b"".join(taken) != b"ok":
                    await body.stream_into(sink)
                await body.stream_into(taken.append)
        assert server.connections == 1


@pytest.mark.parametrize("breaks_off", [False, True])
async def test_what_came_before_the_connection_was_closed_is_handed_over_first(breaks_off: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\na" % (3 + breaks_off))
        await writer.drain()
        await goes_on.wait()
        writer.write(b"bc")

    goes_on, closed = asyncio.Event(), asyncio.Event()
    taken: list[bytes] = []

    async def until_closed() -> None:
        goes_on.set()
        await server.closed.wait()
        for _ in range(10):  # until this side has heard of it
            await asyncio.sleep(0.01)
        closed.set()

    def sink(data: bytes) -> Awaitable[None] | None:
        taken.append(data)
        return None if closed.is_set() else until_closed()

    async with client_of(talk) as (client, server), body_of(client) as body:
        pouring = body.stream_into(sink)
        if breaks_off:
            with pytest.raises(httpx.ReadError):
                await pouring
        else:
            await pouring
    assert taken == [b"a", b"bc"]


async def test_the_sink_gets_nothing_while_what_it_returned_is_waited_for() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na")
        for piece in (b"b", b"c", b"d"):
            await waits.wait()
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)  # so that it is a read of its own
        goes_on.set()

    waits, goes_on = asyncio.Event(), asyncio.Event()
    taken: list[bytes] = []

    async def wait() -> None:
        waits.set()
        await goes_on.wait()

    def sink(data: bytes) -> Awaitable[None] | None:
        taken.append(data)
        return None if goes_on.is_set() else wait()

    async with client_of(talk) as (client, _), body_of(client) as body:
        await body.stream_into(sink)
    assert taken == [b"a", b"bcd"]
