"""While a server's models are managed, it answers as before, and nothing goes to another host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.ollama import DONE, Do, line
from tests.integration.servers.fleet import MANIFEST, SUCCESS, Fleet, fleet, lines
from tests.processes import wait_until

QUESTIONS = 12


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, ["gpu1", "gpu2"]) as running:
        for server in running.servers:
            server.loaded = [{"name": "m:latest"}]
            server.answer("m:latest", line(), DONE)
        yield running


def wait_listed(two: Fleet, servers: list[str]) -> None:
    """Waits until the gateway knows that these have the model."""

    def is_known() -> bool:
        shown = two.client.get("/servers").json()["servers"]
        return [server["name"] for server in shown if "m:latest" in server["models"]] == servers

    wait_until(is_known, 30, f"{servers} have the model")


@contextmanager
def pulling(two: Fleet) -> Iterator[None]:
    """The first server pulls a model."""
    first, _ = two.servers
    first.answer("big", *lines(MANIFEST), Do.WAIT, *lines(SUCCESS))
    pull = threading.Thread(
        target=lambda: two.client.post("/api/pull", json={"model": "big"}, headers={"X-Backend": "gpu1"})
    )
    pull.start()
    try:
        wait_until(lambda: first.asked_for("/api/pull", "big"), 10, "the pull has begun")
        yield
    finally:
        first.go_on()
        pull.join()


def ask_all(two: Fleet) -> list[int]:
    """Asks different questions; how many each server has got."""
    for number in range(QUESTIONS):
        messages = [{"role": "user", "content": f"question {number}"}]
        answer = two.client.post("/api/chat", json={"model": "m:latest", "messages": messages})
        assert answer.status_code == 200
    return [len(server.asked_for("/api/chat", "m:latest")) for server in two.servers]


def test_a_server_that_pulls_a_model_still_answers(two: Fleet) -> None:
    wait_listed(two, ["gpu1", "gpu2"])
    with pulling(two):
        first, second = ask_all(two)
    assert first
    assert second


def test_a_model_that_another_server_has_from_elsewhere_is_not_used_there(two: Fleet) -> None:
    _, second = two.servers
    second.remote["m:latest"] = "https://ollama.com"
    polls = second.polls
    wait_listed(two, ["gpu1", "gpu2"])
    wait_until(lambda: second.polls >= polls + 2, 30, "the gateway knows where it runs")
    with pulling(two):
        assert ask_all(two) == [QUESTIONS, 0]


def test_a_model_that_has_become_one_from_elsewhere_is_not_used(two: Fleet) -> None:
    first, _ = two.servers
    wait_listed(two, ["gpu1", "gpu2"])
    with pulling(two):
        first.remote["m:latest"] = "https://ollama.com"
        assert ask_all(two) == [0, QUESTIONS]
