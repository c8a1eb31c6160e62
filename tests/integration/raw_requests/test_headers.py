"""Headers that are not passed on, forged addresses, and what browsers are allowed."""

import httpx
import pytest

from tests.integration.programs import line_of
from tests.integration.raw_requests.edges import ORIGIN, SERVERS, Edges
from tests.integration.shapes import BODY
from tests.processes import wait_until


@pytest.mark.parametrize("server", SERVERS)
def test_only_the_headers_that_describe_the_body_go_upstream(edges: Edges, server: str) -> None:
    private = {
        "Authorization": "Bearer secret",
        "Connection": "keep-alive, X-Named, Upgrade",
        "Cookie": "session=secret",
        "Forwarded": "for=203.0.113.7",
        "Keep-Alive": "timeout=5",
        "Origin": ORIGIN,
        "Proxy-Authorization": "Basic secret",
        "Proxy-Connection": "keep-alive",
        "Referer": "https://ui.example/secret",
        "TE": "trailers",
        "Trailer": "X-Named",
        "Via": "1.1 secret",
        "X-Api-Key": "secret",
        "X-Forwarded-For": "203.0.113.7",
        "X-Named": "secret",
        "X-Real-IP": "203.0.113.7",
    }
    headers = {**private, "Content-Type": "application/json; charset=utf-8"}
    httpx.post(f"{edges.urls[server]}/api/chat", content=BODY, headers=headers).raise_for_status()
    upstream = edges.fake.received[-1].headers
    assert set(upstream) == {
        "accept", "accept-encoding", "content-length", "content-type", "host", "user-agent", "x-request-id"
    }  # fmt: skip
    assert upstream["content-type"] == headers["Content-Type"]
    assert upstream["host"] == edges.fake.url.removeprefix("http://")


def test_a_client_cannot_forge_its_address(edges: Edges) -> None:
    faked = {
        "Forwarded": "for=198.51.100.7;host=evil;proto=https",
        "X-Forwarded-For": "198.51.100.7, 127.0.0.1",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Port": "1",
        "X-Real-IP": "198.51.100.7",
        "X-Client-IP": "198.51.100.7",
        "True-Client-IP": "198.51.100.7",
    }
    answer = httpx.post(f"{edges.urls['nginx']}/api/copy", json={}, headers=faked)
    request_id = answer.headers["x-request-id"]
    for log in (edges.gateway, edges.nginx):
        assert line_of(log, request_id)["client"] == "127.0.0.1"
        assert "198.51.100.7" not in log.output
    wait_until(lambda: request_id in edges.audit.read_text(), 5, "it is in the audit log")
    assert "198.51.100.7" not in edges.audit.read_text()


def test_only_the_pages_of_configured_origins_may_read_answers(edges: Edges) -> None:
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        for path in ("/api/version", "/nothing", "/v1/models"):
            for origin in (ORIGIN, "https://other.example"):
                answer = client.get(path, headers={"Origin": origin})
                assert answer.headers["access-control-allow-origin"] == origin
                assert "access-control-allow-credentials" not in answer.headers
                assert "Origin" in answer.headers["vary"]
            for origin in ("https://evil.example", "null", f"{ORIGIN}.evil.example", "http://ui.example"):
                answer = client.get(path, headers={"Origin": origin})
                assert "access-control-allow-origin" not in answer.headers
                assert "Origin" in answer.headers["vary"]
            # Caches must not serve one origin's answer to another.
            assert "Origin" in client.get(path).headers["vary"]


def test_preflights_tell_browsers_which_requests_are_allowed(edges: Edges) -> None:
    wanted = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    before = len(edges.fake.received)
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        allowed = client.options("/chat", headers={"Origin": ORIGIN, **wanted})
        refused = client.options("/chat", headers={"Origin": "https://evil.example", **wanted})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    assert len(edges.fake.received) == before


def test_without_keys_pages_of_other_origins_may_send_no_requests(edges: Edges) -> None:
    def ask(origin: str) -> httpx.Response:
        # As forms and scripts can send it to any server without a preflight.
        headers = {"Origin": origin, "Content-Type": "text/plain"}
        return httpx.post(f"{edges.urls['nginx']}/api/chat", content=BODY, headers=headers)

    before = len(edges.fake.received)
    for origin in ("https://evil.example", "null"):
        refused = ask(origin)
        assert refused.status_code == 403
        assert "GATEWAY_CORS_ORIGINS" in refused.json()["error"]
    assert len(edges.fake.received) == before
    assert [ask(origin).status_code for origin in (ORIGIN, "http://localhost:5173")] == [200, 200]


def test_browsers_treat_every_answer_as_data(edges: Edges) -> None:
    with httpx.Client(base_url=edges.urls["nginx"]) as client:
        answers = [
            client.get(path) for path in ("/", "/readyz", "/nothing", "/metrics", "/docs", "/v1/models")
        ]
        answers.append(client.post("/chat", content=BODY))
        answers.append(client.post("/chat", content=b"x" * (11 * 1024 * 1024)))
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert ("script-src" in policy) == (answer.url.path == "/docs")
        assert answer.headers["server"] == "nginx"
        assert "strict-transport-security" not in answer.headers  # without TLS it would mean nothing
        assert len(answer.headers.get_list("x-request-id")) == 1
