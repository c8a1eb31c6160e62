"""Two gateways act as one, on Valkey, whatever happens to either."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.k8s.cluster import (
    GATEWAY,
    Keys,
    client,
    client_of,
    failed,
    kubectl,
    metric,
    pods,
    python,
    state,
    wait_pods,
)
from tests.processes import wait_until

pytestmark = pytest.mark.usefixtures("stack")

SLOTS = 4


def get(gateway: str, path: str, key: str) -> dict[str, Any]:
    """What a gateway answers; empty if the key is not valid there."""
    code = f"""
import urllib.error, urllib.request as r
asked = r.Request("{GATEWAY}{path}", headers={{"Authorization": "Bearer {key}"}})
try: print(r.urlopen(asked).read().decode())
except urllib.error.HTTPError as error: print("{{}}"); assert error.code == 401
"""
    found: dict[str, Any] = json.loads(python(gateway, code))
    return found


def connected(count: int) -> Callable[[], bool]:
    """Whether that many gateways are connected to Valkey."""
    return lambda: sum(metric(pod, 8001, "gateway_shared_up") for pod in pods("gateway")) == count


def test_slots_of_a_killed_gateway_come_back(key: str) -> None:
    first, second = pods("gateway")
    [engine] = pods("engine")
    with client_of(first, key, "streams", str(SLOTS), "4000") as all_slots:
        assert all_slots.next() == {"begun": SLOTS}
        wait_until(lambda: metric(engine, 11434, "engine_slots_busy") == SLOTS, 60, "all slots are taken")
        with client_of(second, key, "streams", str(SLOTS), "5") as waiting:
            wait_until(lambda: len(get(second, "/queue", key)["waiting"]) == SLOTS, 30, "the others wait")
            # As many as there are slots, and none in the engine's own queue.
            assert len(get(second, "/queue", key)["running"]) == SLOTS
            assert metric(engine, 11434, "engine_requests_waiting") == 0
            kubectl("delete", "pod", first, "--force", "--grace-period=0")
            answers = [answer for answer in waiting.answers() if "end" in answer]
    assert len(answers) == SLOTS
    assert failed(answers) == []
    wait_pods("gateway", 2)
    assert get(second, "/queue", key) == {"running": [], "waiting": []}


def test_valkey_goes_and_comes_back_and_no_request_fails(key: str) -> None:
    wait_until(connected(2), 60, f"both are connected\n{state()}")
    with client(key, "streams", "10", "300") as long, client(key, "asking", "6", "10") as asking:
        assert long.next() == {"begun": 10}
        asking.next()
        kubectl("scale", "deployment/valkey", "--replicas=0")
        try:
            wait_until(connected(0), 60, "both have noticed")
            for _ in range(10):
                asking.next()
        finally:
            kubectl("scale", "deployment/valkey", "--replicas=1")
        wait_pods("valkey", 1)
        wait_until(connected(2), 60, f"both are connected again\n{state()}")
        answers = asking.answers()
        streams = long.answers()
    assert len(streams) == 10
    assert failed(streams) == []
    assert failed(answers) == []


def test_a_killed_valkey_costs_no_request(key: str) -> None:
    [first] = pods("valkey")
    with client(key, "asking", "8", "10") as asking:
        asking.next()
        kubectl("delete", "pod", first, "--force", "--grace-period=0")
        wait_pods("valkey", 1)
        wait_until(connected(2), 60, f"both are connected again\n{state()}")
        answers = asking.answers()
    assert failed(answers) == []


def test_two_gateways_share_one_limit_exactly(keys: Keys) -> None:
    limited = keys.create("limited", "--requests", "20/h")
    keys.publish()
    gateways = pods("gateway")

    def is_known() -> bool:
        return all(get(gateway, "/usage", limited) for gateway in gateways)

    # The kubelet brings a changed Secret within two minutes, without a restart.
    wait_until(is_known, 180, "the new key is valid at both gateways")
    with client(limited, "streams", "60", "2") as asking:
        answers = [answer for answer in asking.answers() if "end" in answer]
    refused = failed(answers)
    assert len(answers) - len(refused) == 20
    assert {json.loads(answer["end"])["error"]["type"] for answer in refused} == {"rate_limit_error"}
    # Both have answered some.
    begun = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    assert min(metric(gateway, 8001, begun) for gateway in gateways) > 0
    assert [get(gateway, "/usage", limited)["limits"]["requests"][0]["used"] for gateway in gateways] == [
        20,
        20,
    ]


def test_an_answer_begun_at_one_gateway_is_read_on_at_the_other(key: str) -> None:
    first, second = pods("gateway")
    begun = json.loads(python(first, BEGIN, GATEWAY, key))
    assert begun["ids"] == [1, 2, 3]
    rest = json.loads(python(second, READ_ON, GATEWAY, key, begun["location"], "3"))
    assert rest["ids"] == list(range(4, 302))
    assert rest["last"]["done"] is True


# Read three events, and leave.
BEGIN = """
import httpx, json, sys
_, url, key = sys.argv
asked = {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Write a very long story."}]}
headers = {"Authorization": f"Bearer {key}", "Prefer": "resume=60"}
with httpx.stream(
    "POST", f"{url}/chat", headers=headers, json={**asked, "options": {"num_predict": 300}}, timeout=120
) as answer:
    ids = [int(line[4:]) for line, _ in zip(
        (line for line in answer.iter_lines() if line.startswith("id: ")), range(3)
    )]
print(json.dumps({"ids": ids, "location": answer.headers["location"]}))
"""
READ_ON = """
import httpx, json, sys
_, url, key, location, after = sys.argv
headers = {"Authorization": f"Bearer {key}", "Last-Event-ID": after}
lines = httpx.get(url + location, headers=headers, timeout=120).text.splitlines()
ids = [int(line[4:]) for line in lines if line.startswith("id: ")]
events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
print(json.dumps({"ids": ids, "last": events[-1]}))
"""
