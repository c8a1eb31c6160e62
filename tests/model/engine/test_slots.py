"""Slots and the queue before them; a client that disconnects frees its slot in every phase."""

import contextlib
import threading

import pytest

from tests.integration.engines import (
    LONG_PROMPT,
    STREAMS,
    Client,
    all_slots_taken,
    ask,
    body_for,
    busy,
    metric,
)
from tests.processes import Process, wait_until


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", STREAMS)
def test_a_client_that_disconnects_during_prompt_evaluation_frees_its_slot(
    idle: str, path: str, stream: bool
) -> None:
    gone = metric(idle, "engine_requests_total", outcome="client_gone")
    with Client(idle, path, body_for(path, LONG_PROMPT, stream)):
        wait_until(lambda: busy(idle) == 1, 10, "the prompt is being evaluated")
    # Evaluating the whole prompt takes seconds longer.
    wait_until(lambda: busy(idle) == 0, 2, "the slot is free")
    assert metric(idle, "engine_requests_total", outcome="client_gone") == gone + 1


@pytest.mark.parametrize("path", STREAMS[:3])
def test_a_client_that_disconnects_in_the_middle_of_an_answer_frees_its_slot(idle: str, path: str) -> None:
    with Client(idle, path, body_for(path, "x", stream=True)) as client:
        client.wait_for(b"\n")
        wait_until(lambda: busy(idle) == 1, 10, "the answer is being generated")
    wait_until(lambda: busy(idle) == 0, 2, "the slot is free")


def test_a_client_that_disconnects_before_a_whole_answer_frees_its_slot(idle: str) -> None:
    with Client(idle, "/api/chat", body_for("/api/chat", "x", stream=False)):
        wait_until(lambda: busy(idle) == 1, 10, "the answer is being generated")
    wait_until(lambda: busy(idle) == 0, 2, "the slot is free")


def test_a_client_that_disconnects_while_waiting_never_reaches_llama_cpp(idle: str) -> None:
    with all_slots_taken(idle, 4):
        with Client(idle, "/api/chat", body_for("/api/chat", "x", stream=True)):
            wait_until(lambda: metric(idle, "engine_requests_waiting") == 1, 5, "a request waits")
        wait_until(lambda: metric(idle, "engine_requests_waiting") == 0, 1, "no request waits")
        assert busy(idle) == 4


def test_a_client_that_disconnects_during_a_load_does_not_cancel_it_for_others(
    own_engine: tuple[Process, str],
) -> None:
    process, url = own_engine
    ask(url, "/api/generate", keep_alive=0)
    loads = process.output.count('"model_loading"')
    answered = metric(url, "engine_requests_total", outcome="ok")
    with Client(url, "/api/chat", body_for("/api/chat", "x", stream=True)):
        wait_until(lambda: metric(url, "engine_requests_waiting") == 1, 5, "the model is being loaded")
    answers = [
        threading.Thread(target=ask, args=(url,), kwargs={"options": {"num_predict": 1}}) for _ in range(3)
    ]
    for answer in answers:
        answer.start()
    for answer in answers:
        answer.join()
    wait_until(lambda: process.output.count('"model_loading"') > loads, 5, "the load is in the log")
    assert process.output.count('"model_loading"') == loads + 1
    assert metric(url, "engine_requests_total", outcome="ok") == answered + 3


def test_as_many_requests_as_slots_run_concurrently_and_further_ones_wait(idle: str) -> None:
    body = body_for("/api/chat", "x", stream=True)
    with all_slots_taken(idle, 4) as clients, Client(idle, "/api/chat", body) as fifth:
        wait_until(lambda: metric(idle, "engine_requests_waiting") == 1, 5, "the fifth waits")
        clients[0].leave()
        fifth.wait_for(b'"done":false')
        assert metric(idle, "engine_requests_waiting") == 0


def test_a_full_queue_is_ollamas_503(own_engine: tuple[Process, str]) -> None:
    _, url = own_engine
    body = body_for("/api/chat", "x", stream=True)
    with all_slots_taken(url, 1), contextlib.ExitStack() as queue:
        for _ in range(4):
            queue.enter_context(Client(url, "/api/chat", body))
        wait_until(lambda: metric(url, "engine_requests_waiting") == 4, 5, "the queue is full")
        refused = ask(url)
    assert refused.status_code == 503
    error = "server busy, please try again.  maximum pending requests exceeded"
    assert refused.json() == {"error": error}
