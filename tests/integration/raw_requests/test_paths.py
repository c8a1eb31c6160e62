"""Other spellings of a path reach no other route, and no metrics through nginx."""

import httpx
import pytest

from tests.integration.raw_requests.edges import SERVERS, Edges
from tests.integration.shapes import NEXT, request


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("path", "upstream"),
    [
        ("/v1/models/go%6fd", "/v1/models/good"),
        ("//api/version", "/api/version"),
        ("/api//version", "/api/version"),
        ("/api/version/", "/api/version"),
        ("/api/version//", "/api/version"),
        ("/api%2fversion", "/api/version"),
        ("/api/version%2f", "/api/version"),
        ("//", "/"),
        ("/v1/models//good/", "/v1/models/good"),
        ("/v1/models/%2fgood", "/v1/models/good"),
        ("/v1/models/..//", None),
        ("/v1//models/../../api/version", None),
        ("//api/blobs//%2e%2e//", None),
        ("/api/version/.", None),
        ("/api/version/..", None),
        ("/api/version%5c", None),
        ("/v1/models/good%3fa%23b", None),
        ("/v1/models/..", None),
        ("/v1/models/%2e%2e", None),
        ("/v1/models/..%2f..%2fapi%2fdelete", None),
        ("/api/blobs/%2e%2e", None),
        ("/api/blobs/..%2fdelete", None),
        ("/api/./version", None),
        ("/chat/../api/version", None),
        ("/API/version", None),
        ("/api/version;x", None),
    ],
)
def test_no_spelling_of_a_path_reaches_another_route(
    edges: Edges, server: str, path: str, upstream: str | None
) -> None:
    method = b"HEAD" if "blobs" in path else b"GET"
    before = len(edges.fake.received)
    got = edges.answers(server, request(start=b"%b %b HTTP/1.1" % (method, path.encode()), body=b"") + NEXT)
    assert [received.path for received in edges.fake.received[before:]] == ([upstream] if upstream else [])
    assert got[0][:3] == (b"200" if upstream else b"404")


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/%6detrics",
        "//metrics",
        "/./metrics",
        "/x/../metrics",
        "/api/blobs/../../metrics",
        "/api/blobs/..%2f..%2fmetrics",
        "/metrics#x",
        "/metrics?x",
        "http://x/metrics",
        "http://x?/metrics",
        "/metrics/",
        "/metrics//",
        "///metrics///",
        "/metrics%2f",
        "/%2fmetrics",
        "%2fmetrics",
        "/metrics/?x",
        "/metrics/.",
        "/metrics/./",
        "/metrics/x/..",
        "/metrics/x/../",
        "/api/blobs/sha256/../../metrics/",
        "/api/blobs/sha256%2f..%2f../..%2fmetrics/",
        "http://x//metrics/",
        "/METRICS",
        "/metrics%23",
        "/metrics%3f",
        "/metrics%20",
        "/unreadable/../metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_spelling_gets_metrics_through_nginx(edges: Edges, method: str, path: str) -> None:
    start = f"{method} {path} HTTP/1.1".encode()
    got = edges.answers("nginx", request(start=start, body=b"") + NEXT)
    assert b"gateway_requests_total" not in got[0]
    is_root = path == "http://x?/metrics"
    assert got[0][:3] in ((b"200",) if is_root else (b"400", b"403", b"404"))


def test_every_spelling_gets_metrics_from_the_gateway_directly(edges: Edges) -> None:
    for path in ("/metrics", "//metrics", "/metrics/", "/metrics%2f"):
        answer = httpx.get(f"{edges.urls['gateway']}{path}")
        assert (answer.status_code, "gateway_requests_total" in answer.text) == (200, True), path
