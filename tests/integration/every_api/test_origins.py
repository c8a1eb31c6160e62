"""What pages of other origins may do."""

import httpx

PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
    "Access-Control-Request-Private-Network": "true",
}


def test_pages_of_allowed_origins_may_call_into_a_private_network(url: str) -> None:
    for origin, allowed in (
        ("https://ui.example", True),
        ("app://obsidian.md", True),
        ("https://evil.example", False),
    ):
        answer = httpx.options(f"{url}/chat", headers={**PREFLIGHT, "Origin": origin})
        assert answer.is_success is allowed, origin
        assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert answer.headers.get("access-control-allow-private-network") == ("true" if allowed else None)


def test_pages_can_read_the_headers_that_clients_use(url: str) -> None:
    answer = httpx.get(f"{url}/v1/models", headers={"Origin": "https://ui.example"})
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert exposed >= {"x-request-id", "request-id", "retry-after"}


def test_browsers_may_call_from_the_origins_that_are_configured(url: str, impatient: str) -> None:
    asking = {
        "Origin": "https://ui.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-lang",
    }
    allowed = httpx.options(f"{url}/v1/chat/completions", headers=asking)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://ui.example"
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    refused = httpx.options(
        f"{url}/v1/chat/completions", headers={**asking, "Origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in refused.headers
    others = httpx.options(f"{impatient}/v1/chat/completions", headers=asking)
    assert "access-control-allow-origin" not in others.headers
