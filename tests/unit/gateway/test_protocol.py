"""Requests as the gateway's own port reads them, whatever pieces they come in."""

import asyncio
from types import SimpleNamespace
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.server.http_protocol import GuardedHttp
from gateway.settings import Settings
from tests.integration.shapes import BODY, CHUNKED, H2C, LENGTH, request

OFFERS = (
    request(*H2C, LENGTH),
    request(*H2C, b"Transfer-Encoding: chunked", body=CHUNKED),
    request(*H2C, start=b"GET /chat HTTP/1.1", body=b""),
    request(b"Connection: close, upgrade", b"Upgrade: websocket", LENGTH),
)


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def bodies(*pieces: bytes) -> list[bytes]:
    """What the application gets as bodies where `pieces` are each one read of the socket."""
    received: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        assert b"upgrade" not in dict(scope["headers"])
        received.append(body)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    state = ServerState()
    protocol = GuardedHttp(
        Config(app, lifespan="off"), state, {"gateway": SimpleNamespace(settings=Settings())}
    )
    transport = Transport()
    protocol.connection_made(transport)
    for piece in pieces:
        protocol.data_received(piece)
    while state.tasks:
        await asyncio.wait(state.tasks)
        await asyncio.sleep(0)
    assert transport.written.count(b"HTTP/1.1 204 ") == len(received), transport.written
    protocol.connection_lost(None)
    return received


async def test_an_offer_to_upgrade_is_ignored_wherever_it_is_cut() -> None:
    data = b"".join(OFFERS)
    expected = [BODY, BODY, b"", BODY]
    for cut in range(1, len(data)):
        assert await bodies(data[:cut], data[cut:]) == expected, data[:cut]
    assert await bodies(*(bytes([byte]) for byte in data)) == expected


async def test_nothing_is_taken_from_behind_the_last_request() -> None:
    last = request(b"Connection: close, upgrade", b"Upgrade: h2c", LENGTH)
    assert await bodies(last + request(LENGTH)) == [BODY]


async def test_a_thousand_offers_in_one_read_are_a_thousand_requests() -> None:
    offer = request(b"Connection: upgrade", b"Upgrade: x", start=b"GET / HTTP/1.1", body=b"")
    assert await bodies(offer * 1000) == [b""] * 1000
