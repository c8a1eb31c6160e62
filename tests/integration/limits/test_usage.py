"""What a caller, an operator and a page see of limits and use."""

from pathlib import Path

import httpx

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.integration.apis import CASES, CHAT
from tests.integration.limits.edge import Edge, header_names
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.processes import wait_until

WHOLE = b'{"model":"m","done":true,"prompt_eval_count":11,"eval_count":3}'


def test_usage_tells_a_caller_its_own_limits_and_what_is_left(edge: Edge) -> None:
    key = edge.key("requests=60/m")
    assert edge.usage(key)["total"] == {"requests": 0, "tokens": 0, "seconds": 0}
    edge.ask(key)
    usage = edge.usage(key)
    (window,) = usage["limits"]["requests"]
    assert 50 < window.pop("reset_seconds") <= 60
    assert window == {"limit": 60, "seconds": 60, "used": 1, "remaining": 59}
    assert (usage["in_flight"], usage["total"]["requests"], usage["total"]["tokens"]) == (0, 1, 14)


def test_usage_is_as_its_description_shows(edge: Edge) -> None:
    key = edge.key("requests=60/m")
    paths = edge.client.get("/openapi.json", headers=key).json()["paths"]
    example = paths["/usage"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
    usage = edge.usage(key)
    assert usage.keys() == example.keys()
    assert usage["limits"].keys() == example["limits"].keys()
    assert usage["limits"]["requests"][0].keys() == example["limits"]["requests"][0].keys()
    assert usage["total"].keys() == example["total"].keys()


def test_usage_of_a_key_without_limits_is_empty(edge: Edge) -> None:
    key = edge.key("-")
    answer = edge.ask(key)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "ratelimit" in name]
    usage = edge.usage(key)
    assert usage["caller"].startswith("k")
    assert usage["limits"] == {"requests": [], "tokens": [], "concurrent": None, "max_output": None}
    assert edge.client.get("/usage").status_code == 401


def test_lists_and_usage_are_not_limited(edge: Edge) -> None:
    key = edge.key("requests=1/m")
    assert [edge.client.get("/v1/models", headers=key).status_code for _ in range(3)] == [200] * 3
    assert edge.usage(key)["total"]["requests"] == 0
    assert edge.ask(key).status_code == 200


def test_pages_may_read_the_headers(edge: Edge) -> None:
    answer = edge.ask({**edge.key("requests=1/m"), "Origin": "http://page"})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert {name for name in answer.headers if "ratelimit" in name} <= set(exposed)
    assert set(header_names(CASES[-1], "tokens")) <= set(exposed)


def test_metrics_count_what_each_key_uses_by_its_name(edge: Edge) -> None:
    key = edge.key("requests=1/m")
    caller = edge.usage(key)["caller"]
    assert [edge.ask(key).status_code for _ in range(2)] == [200, 429]

    def counted(name: str, **labels: str) -> float | None:
        return value(edge.gateway, f"gateway_key_{name}_total", key=caller, model="chat:latest", **labels)

    wait_until(lambda: counted("requests", outcome="rejected") == 1, 5, "the refusal is counted")
    assert counted("requests", outcome="ok") == 1
    assert (counted("tokens", type="input"), counted("tokens", type="output")) == (11, 3)
    assert edge.keys["requests=1/m"][0] not in httpx.get(f"{edge.gateway}/metrics").text


def test_metrics_by_key_can_be_switched_off(tmp_path: Path, edge: Edge) -> None:
    key = KeyFile(tmp_path / "keys").create("alice", "admin", EVERY_MODEL, None)
    settings = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys"), "GATEWAY_KEY_METRICS": "off"}
    with gateway(edge.fake.url, tmp_path, **settings) as (_, url), httpx.Client(base_url=url) as client:
        client.headers["x-api-key"] = key
        assert client.post("/chat", json=CHAT.request("chat")).status_code == 200
        counted = 'gateway_requests_total{model="chat:latest",outcome="ok",route="/chat"'
        wait_until(lambda: counted in client.get("/metrics").text, 5, "the request is counted")
        assert "alice" not in client.get("/metrics").text
