"""Heads that are not HTTP: the refusal has the shape of the API that the path belongs to."""

import json
from typing import Any

import pytest

from tests.integration.raw_requests.edges import Edges, until_closed

PATHS = ("/chat", "/api/chat", "/v1/chat/completions", "//v1/messages?beta=true")

HEADS = {
    "an unknown method": b"BREW %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a header without a colon": b"POST %b HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
    "an unknown version": b"POST %b HTTP/7.3\r\nHost: x\r\n\r\n",
    "an invalid character": b"POST %b\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
}


def api_of_shape(answer: dict[str, Any]) -> str:
    if answer.get("type") == "error":
        return "//v1/messages?beta=true"
    if isinstance(answer["error"], str):
        return "/api/chat"
    return "/v1/chat/completions" if "param" in answer["error"] else "/chat"


# nginx does not keep the path of a request line that it cannot parse.
KNOWN_TO_NGINX = ("an unknown method", "a header without a colon")


@pytest.mark.parametrize(
    ("server", "case"),
    [*(("gateway", case) for case in HEADS), *(("nginx", case) for case in KNOWN_TO_NGINX)],
)
def test_a_malformed_head_is_refused_in_the_shape_of_its_api(edges: Edges, server: str, case: str) -> None:
    for path in PATHS:
        (got,) = edges.answers(server, HEADS[case] % path.encode())
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"400 "), got
        assert api_of_shape(json.loads(body)) == path


def test_a_malformed_head_request_gets_no_body(edges: Edges) -> None:
    (got,) = edges.answers("gateway", b"HEAD /v1/messages HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"400 ")
    assert b"\r\ncontent-length: " in head
    assert body == b""


def test_an_unparsed_method_is_not_that_of_the_request_before(edges: Edges) -> None:
    first = b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with edges.connect("gateway") as client:
        client.sendall(first)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"BREW /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n")
        got = until_closed(client)
    assert api_of_shape(json.loads(got.partition(b"\r\n\r\n")[2])) == PATHS[-1]
