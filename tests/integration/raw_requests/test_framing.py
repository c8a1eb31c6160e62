"""Requests that two servers might interpret differently, and what reaches upstream."""

import json
import re
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.raw_requests.edges import SERVERS, Edges, until_closed
from tests.integration.shapes import (
    BODY,
    LENGTH,
    NEXT,
    REFUSED,
    REFUSED_BY_GATEWAY,
    REFUSED_BY_NGINX,
    SEEN_ALIKE,
    many,
    request,
)


@pytest.mark.parametrize(
    ("server", "shapes"),
    [("nginx", {**REFUSED, **REFUSED_BY_NGINX}), ("gateway", {**REFUSED, **REFUSED_BY_GATEWAY})],
    ids=SERVERS,
)
def test_an_ambiguous_request_is_refused(edges: Edges, server: str, shapes: dict[str, bytes]) -> None:
    before = len(edges.fake.received)
    for shape, data in shapes.items():
        got = edges.answers(server, data + NEXT)
        assert got, shape
        assert got[0][:4] in (b"400 ", b"405 ", b'{"er'), shape
        assert b'"error"' in got[0], shape
        # A connection may only be kept if the end of the request is unambiguous.
        assert [answer[:3] for answer in got[1:]] in ([], [b"200"]), shape
        assert len(edges.fake.received) == before, shape


@pytest.mark.parametrize(
    ("server", "shapes"),
    [("nginx", {**SEEN_ALIKE, **REFUSED_BY_GATEWAY}), ("gateway", {**SEEN_ALIKE, **REFUSED_BY_NGINX})],
    ids=SERVERS,
)
def test_an_accepted_request_is_one_request_for_every_server(
    edges: Edges, server: str, shapes: dict[str, bytes]
) -> None:
    for shape, data in shapes.items():
        before = len(edges.fake.received)
        got = edges.answers(server, data + NEXT)
        is_question = b"/chat" in data
        assert got[0][:3] == (b"200" if is_question else b"404"), shape
        assert len(got) <= 2, shape
        bodies = [received.body for received in edges.fake.received[before:]]
        assert bodies == ([BODY] if is_question else []), shape


@pytest.mark.parametrize("server", SERVERS)
def test_the_body_of_a_get_is_ignored(edges: Edges, server: str) -> None:
    got = edges.answers(server, request(LENGTH, start=b"GET /api/version HTTP/1.1") + NEXT)
    assert [answer[:3] for answer in got] == [b"200", b"200"]
    received = edges.fake.received[-1]
    assert (received.path, received.body) == ("/api/version", b"")
    assert received.headers.get("content-length", "0") == "0"


def test_garbage_after_a_good_request_closes_the_connection_quietly(edges: Edges) -> None:
    for path in (b"/healthz", b"/docs", b"/openapi.json", b"/api/version"):
        good = request(start=b"GET %b HTTP/1.1" % path, body=b"")
        got = edges.answers("gateway", good + b"SMUGGLED / HTTP/1.1\r\n\r\n")
        assert [answer[:3] for answer in got] in ([], [b"200"])

    # The fixture checks that nothing was logged as a defect.


def test_an_empty_line_does_not_keep_a_connection_open(edges: Edges) -> None:
    with ExitStack() as stack:
        waiting = [stack.enter_context(edges.connect(server)) for server in SERVERS]
        for client in waiting:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65536)
            client.sendall(b"\r\n")
        for client in waiting:
            until_closed(client)


# What says where something is, or what it is made of.
TELLING = re.compile(
    r"nginx/|<html|127\.0\.0\.1|localhost|:\d{4,5}\b|/home|/root|/usr|/tmp|\.py|Traceback|uvicorn|gunicorn"
)


def test_nginxs_errors_reveal_no_address_or_version(edges: Edges) -> None:
    asked: list[Any] = [data + NEXT for data in (*REFUSED.values(), *REFUSED_BY_NGINX.values())]
    asked.append(request(*many(1, 40_000), LENGTH) + NEXT)
    asked.append(request(start=b"GET /%b HTTP/1.1" % (b"a" * 20_000), body=b""))
    for data in asked:
        for answer in edges.answers("nginx", data)[:1]:
            head, _, content = answer.decode().rpartition("\r\n\r\n")
            assert not TELLING.search(answer.decode()), answer
            assert "error" in json.loads(content.strip() or "{}"), data
            assert not head or "x-request-id" in head.lower(), data
