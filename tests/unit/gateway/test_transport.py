"""The transport against servers that answer byte by byte as a test wants it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from gateway.backends.http1 import in_chunks
from gateway.backends.response_body import MAX_AHEAD, Body
from gateway.backends.transport import Transport, origin_of

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Each connection is a talk of its own; `connections` counts them."""

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
    """Lets httpx's client ask, and reads the whole answer."""

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
    """Asked for as `Upstream` does it, past the client."""
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


async def test_nobody_listening_is_a_connect_error() -> None:
    async with httpx.AsyncClient(transport=ForHttpx(Transport())) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://127.0.0.1:9/")


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


CHUNKED_ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


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


# What may have left towards a reader that has given up: the system's buffers, and some more.
MOST = 64 * 1024 * 1024


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
