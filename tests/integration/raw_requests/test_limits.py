"""Requests that are too large or take too long to arrive."""

import socket
from contextlib import ExitStack, suppress

import pytest

from tests.integration.programs import MAX_BODY
from tests.integration.raw_requests.edges import SERVERS, Edges, until_closed
from tests.integration.shapes import LARGE_HEADS, SLOW, request


@pytest.mark.parametrize("case", LARGE_HEADS)
def test_a_head_that_is_too_large_is_refused_before_it_is_complete(edges: Edges, case: str) -> None:
    server, data, status = LARGE_HEADS[case]
    before = len(edges.fake.received)
    received = b""
    with edges.connect(server) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            client.sendall(data)
        with suppress(ConnectionError):
            received = client.recv(65536)
    # A reset may overtake the answer while the client is still sending.
    assert received[9:12] == status or (server == "gateway" and not received)
    assert (b'"code":"head_too_large"' in received.replace(b'": "', b'":"')) == (received[9:12] == b"431")
    assert len(edges.fake.received) == before


@pytest.mark.parametrize("server", SERVERS)
def test_a_body_in_chunks_is_limited_too(edges: Edges, server: str) -> None:
    piece = b"%x\r\n%b\r\n" % (50_000, b"x" * 50_000)
    limit = MAX_BODY if server == "gateway" else 10 * 1024 * 1024
    body = piece * (limit // 50_000 + 2) + b"0\r\n\r\n"
    (got, *_) = edges.answers(server, request(b"Transfer-Encoding: chunked", body=body))
    assert got.startswith(b"413 ")
    assert b'"body_too_large"' in got


def test_a_request_that_takes_too_long_to_arrive_is_ended(edges: Edges) -> None:
    phases = [(server, phase) for server in SERVERS for phase in SLOW]
    with ExitStack() as stack:
        waiting = {at: stack.enter_context(edges.connect(at[0])) for at in phases}
        for (_, phase), client in waiting.items():
            client.sendall(SLOW[phase])
        got = {at: until_closed(client) for at, client in waiting.items()}
    assert not any(received.path == "/api/chat" and not received.body for received in edges.fake.received)
    for (server, phase), answer in got.items():
        assert b"<html" not in answer, phase
        if server == "gateway":
            says_why = phase not in ("nothing", "empty lines")
            assert (b"HTTP/1.1 408 " in answer) == (b"no more of the request" in answer) == says_why, phase
