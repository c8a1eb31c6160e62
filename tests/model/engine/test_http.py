"""Raw HTTP at the embedded engine's own port: upgrades, HTTP/1.0 and encodings."""

import json
import socket
from itertools import pairwise

import pytest

MODEL = "smollm2:135m"
# At temperature 0 the answer does not end before its limit.
OPTIONS = {"num_predict": 2, "temperature": 0}
BODY = json.dumps(
    {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "options": OPTIONS}
).encode()
UNKNOWN = b'{"model":"nope","messages":[]}'

OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARA\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n",
}


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request(body: bytes, fields: bytes = b"", version: bytes = b"1.1", path: bytes = b"/api/chat") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %b HTTP/%b\r\nHost: x\r\n%b%b\r\n%b" % (path, version, fields, length, body)


def answers(url: str, *parts: bytes, until: bytes | None = None) -> bytes:
    """Sends the parts one by one; returns the answer up to a text or to the end of the connection."""
    data = b""
    with connected(url) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        while until is None or until not in data:
            piece = connection.recv(65536)
            if not piece:
                assert until is None, data
                return data
            data += piece
    return data


@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_of_another_protocol_is_ignored_and_the_body_kept(engine: str, offer: str) -> None:
    answer = answers(engine, request(BODY, OFFERS[offer]), until=b'"done":true')
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_the_body_of_an_offer_may_come_later_and_in_pieces(engine: str) -> None:
    whole = request(UNKNOWN, OFFERS["h2c"])
    for cuts in ([len(whole) - len(UNKNOWN)], range(1, len(whole)), [10, len(whole) - 5]):
        places = [0, *cuts, len(whole)]
        parts = [whole[start:end] for start, end in pairwise(places)]
        answer = answers(engine, *parts, until=b"not found")
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert answer.count(b"HTTP/1.1 ") == 1


def test_the_body_of_an_offer_may_come_in_chunks(engine: str) -> None:
    head = b"POST /api/chat HTTP/1.1\r\nHost: x\r\n%bTransfer-Encoding: chunked\r\n\r\n" % OFFERS["h2c"]
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(UNKNOWN), UNKNOWN)
    assert answers(engine, head + chunks, until=b"not found").startswith(b"HTTP/1.1 404 ")


def test_a_connection_remains_usable_after_an_offer(engine: str) -> None:
    answer = answers(
        engine,
        request(UNKNOWN, OFFERS["h2c"])
        + b"GET /api/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert answer.count(b"HTTP/1.1 404 ") == 1
    assert answer.count(b"HTTP/1.1 200 ") == 1


def test_many_offers_in_one_read_are_as_many_requests(engine: str) -> None:
    offer = b"GET /api/version HTTP/1.1\r\nHost: x\r\n%b\r\n" % OFFERS["TLS"]
    last = offer.replace(b"Upgrade\r\n", b"Upgrade, close\r\n", 1)
    assert answers(engine, offer * 500 + last).count(b"HTTP/1.1 200 ") == 501


def test_get_with_an_offer_is_answered(engine: str) -> None:
    head = b"GET /api/version HTTP/1.1\r\nHost: x\r\n%b\r\n" % OFFERS["h2c"]
    assert answers(engine, head, until=b'"version"').startswith(b"HTTP/1.1 200 ")


def test_http_1_0_gets_a_stream_without_chunks_that_ends_with_the_connection(engine: str) -> None:
    head, _, body = answers(engine, request(BODY, version=b"1.0")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert len(lines) == 3


def test_http_1_0_gets_a_whole_answer_with_its_length(engine: str) -> None:
    head, _, body = answers(engine, request(UNKNOWN, version=b"1.0")).partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head.lower()
    assert json.loads(body) == {"error": "model 'nope' not found"}


def test_an_encoded_body_is_refused_with_the_reason(engine: str) -> None:
    zstd = b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00"
    for encoding, body in ((b"gzip", b"\x1f\x8b\x08\x00"), (b"zstd", zstd)):
        for path in (b"/api/chat", b"/v1/responses"):
            fields = b"Content-Encoding: %b\r\nConnection: close\r\n" % encoding
            answer = answers(engine, request(body, fields, path=path))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"Content-Encoding: %b is not supported" % encoding in answer
    # A Content-Encoding without an encoded body is ignored, as by Ollama.
    plain = request(UNKNOWN, b"Content-Encoding: br\r\nConnection: close\r\n")
    assert answers(engine, plain).startswith(b"HTTP/1.1 404 ")
