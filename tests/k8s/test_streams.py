"""Answers through Service and edge, while pods are replaced, killed, added and taken away."""

import json
from collections.abc import Callable

import pytest

from tests.k8s.cluster import client, failed, kubectl, metric, objects, pods, state, wait_pods
from tests.processes import wait_until

pytestmark = pytest.mark.usefixtures("stack")


def test_an_answer_streams_through_service_and_edge_token_by_token(key: str) -> None:
    verify = ("gateway", "verify", "--url", "http://edge", "--out", "/dev/shm/record")
    kubectl("exec", "client", "--", "env", f"SLUICE_KEY={key}", *verify)
    record = json.loads(kubectl("exec", "client", "--", "cat", "/dev/shm/record"))
    assert record["verdict"] == "streamed"


def test_a_rolling_update_under_40_streams_loses_none(key: str) -> None:
    gateways, edges = pods("gateway").keys(), pods("edge").keys()

    def told_to_end() -> bool:
        return all("Handling signal: term" in kubectl("logs", pod) for pod in gateways)

    with client(key, "streams", "40", "200") as asking:
        assert asking.next() == {"begun": 40}
        kubectl("rollout", "restart", "deployment/gateway", "deployment/edge")
        for name in ("gateway", "edge"):
            kubectl("rollout", "status", f"deployment/{name}", "--timeout=180s")
        wait_until(told_to_end, 120, f"the old gateways drain\n{state()}")
        assert not asking.has_ended, "the answers are too short to be running then"
        answers = asking.answers()
    assert len(answers) == 40
    assert failed(answers) == []
    assert not (gateways | edges) & (pods("gateway").keys() | pods("edge").keys())


def test_requests_that_begin_during_a_rolling_update_do_not_fail(key: str) -> None:
    before = pods("gateway").keys() | pods("edge").keys()
    with client(key, "asking", "4", "5") as asking:
        asking.next()
        kubectl("rollout", "restart", "deployment/gateway", "deployment/edge")

        def replaced() -> bool:
            found = objects("pods", "gateway") + objects("pods", "edge")
            return not before & {pod["metadata"]["name"] for pod in found}

        wait_until(replaced, 180, "the old pods have drained and are gone")
        answers = asking.answers()
    assert len(answers) > 20
    assert failed(answers) == []


@pytest.mark.parametrize("name", ["gateway", "edge", "engine"])
def test_a_killed_pod_heals(name: str, key: str) -> None:
    first, *others = pods(name)
    kubectl("delete", "pod", first, "--force", "--grace-period=0")
    healed = wait_pods(name, 1 + len(others))
    assert first not in healed
    assert set(others) < set(healed) or not others
    wait_until(lambda: answers_well(key), 60, f"answers are whole again\n{state()}")


def answers_well(key: str) -> bool:
    with client(key, "streams", "4", "5") as asking:
        return not failed([answer for answer in asking.answers() if "end" in answer])


def test_engines_are_found_and_forgotten_without_a_failed_request(key: str) -> None:
    def known(count: int) -> Callable[[], bool]:
        return lambda: all(metric(pod, 8001, "gateway_backend_up") == count for pod in pods("gateway"))

    def all_work() -> bool:
        return all(metric(pod, 11434, "engine_slots_busy") > 1 for pod in pods("engine"))

    try:
        # More than one engine has slots, and longer than the engine itself waits when it is stopped.
        with client(key, "asking", "12", "200") as asking:
            asking.next()
            kubectl("scale", "deployment/engine", "--replicas=3")
            wait_pods("engine", 3)
            wait_until(known(3), 120, f"gateways know three engines\n{state()}")
            wait_until(all_work, 120, "all of them answer")
            kubectl("scale", "deployment/engine", "--replicas=1")
            wait_until(known(1), 120, f"gateways know one engine\n{state()}")
            wait_until(
                lambda: len(objects("pods", "engine")) == 1, 300, f"the others have stopped\n{state()}"
            )
            answers = asking.answers()
    finally:
        kubectl("scale", "deployment/engine", "--replicas=1")
    assert failed(answers) == []
    assert len(answers) > 12
