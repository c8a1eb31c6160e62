"""Offers to upgrade the protocol, and clients of HTTP/1.0."""

import json
import socket
from contextlib import suppress

import pytest

from tests.integration.raw_requests.edges import SERVERS, Edges, until_closed
from tests.integration.shapes import BODY, CHUNKED, H2C, LENGTH, NEXT, many, request

TE = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("server", SERVERS)
def test_an_offer_to_upgrade_leaves_the_connection_usable(edges: Edges, server: str) -> None:
    offers = [request(*H2C, LENGTH), request(*H2C, TE, body=CHUNKED)] * 2
    if server == "nginx":  # which ends the connection behind chunks
        offers = [request(*H2C, LENGTH)] * 4
    before = len(edges.fake.received)
    got = edges.answers(server, b"".join(offers) + NEXT)
    assert [answer[:3] for answer in got] == [b"200"] * 5
    assert [received.body for received in edges.fake.received[before:]] == [BODY] * 4


def test_the_body_of_an_offer_may_come_later(edges: Edges) -> None:
    with edges.connect("gateway") as client:
        client.sendall(request(*H2C, b"Expect: 100-continue", LENGTH, body=b""))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY + NEXT)
        got = until_closed(client)
    assert [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert edges.fake.received[-1].body == BODY


def test_an_offer_in_single_bytes_is_ignored_too(edges: Edges) -> None:
    before = len(edges.fake.received)
    with edges.connect("gateway") as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request(*H2C, LENGTH) + NEXT:
            client.sendall(bytes([byte]))
        got = until_closed(client)
    assert [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200"]
    assert [received.body for received in edges.fake.received[before:]] == [BODY]


def test_limits_apply_to_an_offer_to_upgrade(edges: Edges) -> None:
    """The limits for head, body and time apply, as to any other request."""
    large = request(*H2C, b"Content-Length: 99999999", body=b"x")
    assert edges.answers("gateway", large)[0].startswith(b"413 ")
    heads = request(*H2C, *many(1000, 2_000), LENGTH)
    with edges.connect("gateway") as client, suppress(ConnectionError):
        client.sendall(heads)
        assert client.recv(65536)[9:12] in (b"431", b"")
    assert edges.answers("gateway", request(*H2C, LENGTH, body=BODY[:5]))[0].startswith(b"408 ")
    bad = request(*H2C, TE, body=b"zz\r\n")
    assert edges.answers("gateway", bad + NEXT)[0].startswith(b"400 ")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("asked", [(), (b"Connection: keep-alive",), H2C], ids=["", "kept alive", "upgrade"])
def test_http_1_0_clients_get_no_chunks_and_a_closed_connection(
    edges: Edges, server: str, asked: tuple[bytes, ...]
) -> None:
    for path in ("/chat", "/api/chat"):
        question = request(*asked, LENGTH, start=f"POST {path} HTTP/1.0".encode())
        (got,) = edges.answers(server, question)
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"200 ")
        assert b"transfer-encoding" not in head.lower()
        assert b"content-length" not in head.lower()
        assert b"connection: close" in head.lower()
        lines = [text.removeprefix(b"data: ") for text in body.splitlines() if b"{" in text]
        assert [json.loads(text)["done"] for text in lines] == [False, True]
    for path in ("/api/version", "/healthz", "/nothing"):
        simple = request(*asked, start=f"GET {path} HTTP/1.0".encode(), body=b"")
        # nginx keeps the connection if requested, because this answer has a length.
        got, *_ = edges.answers(server, simple + request(start=b"GET /healthz HTTP/1.0", body=b""))
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"404 " if path == "/nothing" else b"200 ")
        assert b"transfer-encoding" not in head.lower()
        json.loads(body)


def test_an_http_1_0_client_gets_no_100_continue(edges: Edges) -> None:
    data = request(b"Expect: 100-continue", LENGTH, start=b"POST /chat HTTP/1.0")
    with edges.connect("gateway") as client:
        client.sendall(data)
        assert until_closed(client).startswith(b"HTTP/1.1 200 ")
