"""The whole chain as `make run` starts it: nginx, gateway, and an engine with a real model."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.commands.verify.probe import ask
from gateway.commands.verify.timing import Timing, measure
from tests.integration.apis import CASES, Case
from tests.integration.programs import nginx
from tests.integration.stacks import MODEL, RUN, Running, question, started, wait_until_free
from tests.processes import BIN, ROOT, free_port, wait_until

LONG_PROMPT = "All work and no play makes Jack a dull boy. " * 150


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("stack")) as running:
        httpx.post(f"{running.url}/chat", json=question(num_predict=1), timeout=60)  # loads the model
        yield running


@pytest.fixture
def client(stack: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        yield http


def timing_of_an_answer(client: httpx.Client) -> Timing:
    answer = ask(client, question(num_predict=100, seed=1), show=lambda _: None)
    assert answer.events[-1].data["done"] is True
    return measure([event.arrived for event in answer.events], [event.generated for event in answer.events])


def test_tokens_arrive_spread_over_the_time_of_their_generation(client: httpx.Client) -> None:
    timing = timing_of_an_answer(client)
    assert timing.events >= 20
    assert timing.distinct_arrivals >= 20
    assert timing.time_to_first_event < 0.3 * timing.total
    assert timing.streamed is True


def test_a_buffering_edge_is_detected(stack: Running) -> None:
    """Proves that the test above can fail: the same chain, with buffering and compression."""
    compressing = "proxy_buffering on; gzip on; gzip_types text/event-stream;"
    with (
        nginx(int(stack.ports["GATEWAY_PORT"]), ("proxy_buffering off;", compressing)) as (_, url),
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        timing = timing_of_an_answer(client)
    assert timing.streamed is False
    assert timing.distinct_arrivals < 20


@contextmanager
def answering(
    stack: Running, case: Case, text: str, *, streams: bool, busy: int = 1
) -> Iterator[socket.socket]:
    """A client's connection, once llama.cpp works on its request and `busy` slots are busy."""
    with asking(stack, case, text, streams=streams) as connection:
        wait_until(lambda: stack.busy_slots() == busy, 30, f"{busy} slots are busy")
        yield connection


@contextmanager
def asking(stack: Running, case: Case, text: str, *, streams: bool) -> Iterator[socket.socket]:
    """A client's connection after sending its request."""
    asked = {"messages": [{"role": "user", "content": text}], "prompt": text, "input": text}
    fields = {name: asked[name] for name in case.fields if name in asked}
    body = json.dumps(case.request(MODEL, **fields, **ENDLESS, stream=streams)).encode()
    with socket.create_connection(("127.0.0.1", int(stack.ports["PORT"]))) as connection:
        head = f"POST {case.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        yield connection


# Each API's own fields, which the others ignore. The schema keeps the model from ending its answer; without
# a schema, the likeliest continuation of COUNTING is always another number.
ENDLESS = {
    "options": {"num_predict": 3000},
    "temperature": 0,
    "max_tokens": 3000,
    "max_output_tokens": 3000,
    "format": {"type": "array", "items": {"type": "integer"}, "minItems": 1500},
}
COUNTING = "1 2 3 4 5 6 7 8 9 10 11 12 13"
every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_api
def test_a_client_that_disconnects_mid_answer_frees_the_slot_at_once(stack: Running, case: Case) -> None:
    with answering(stack, case, COUNTING, streams=True) as connection:
        received = b""
        while received.count(b"\n") < 20:
            received += connection.recv(65536)
    wait_until_free(stack)


@every_api
@pytest.mark.parametrize("streams", [True, False])
def test_a_client_that_disconnects_before_the_first_token_frees_the_slot_at_once(
    stack: Running, case: Case, streams: bool
) -> None:
    if case.name == "chat" and not streams:
        return  # it always streams
    # The time makes the prompt unique, so that no cache shortens its evaluation.
    with answering(stack, case, f"{time.time()} {LONG_PROMPT}", streams=streams) as connection:
        if case.path == "/v1/responses" and streams:  # whose first event only reports the beginning
            assert b"delta" not in connection.recv(65536)
        else:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
    wait_until_free(stack)


def test_a_client_that_disconnects_while_waiting_leaves_the_queue(stack: Running) -> None:
    with ExitStack() as clients:
        for busy in range(1, 5):
            text = f"Count to a million. {busy}"
            clients.enter_context(answering(stack, CASES[1], text, streams=True, busy=busy))
        for case in CASES:
            for streams in (True, False)[: 1 if case.name == "chat" else 2]:  # /chat always streams
                with asking(stack, case, "hi", streams=streams):
                    wait_until(lambda: len(waiting(stack)) == 1, 10, "it waits")
                    assert stack.metric("engine_requests_waiting") == 0
                wait_until(lambda: not waiting(stack), 5, f"it has left the queue: {case.name}")
    wait_until(lambda: stack.busy_slots() == 0, 30, "the slots are free")


def waiting(stack: Running) -> list[object]:
    """The requests in the gateway's queue."""
    return list(httpx.get(f"{stack.url}/queue", timeout=30).json()["waiting"])


def test_ollamas_clients_still_read_that_it_is_running(client: httpx.Client) -> None:
    assert client.get("/").text == "Ollama is running"
    assert client.get("/", headers={"Accept": "text/html"}).text.startswith("<!doctype html>")


def test_an_unknown_model_is_404_through_the_whole_chain(client: httpx.Client) -> None:
    response = client.post("/chat", json={**question(), "model": "nobody"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


def test_all_three_logs_have_the_same_request_id(stack: Running, client: httpx.Client) -> None:
    response = client.post(
        "/chat", json=question("planted secret", num_predict=2), headers={"X-Request-Id": "join-me"}
    )
    assert response.headers["x-request-id"] == "join-me"

    def entries() -> list[dict[str, Any]]:
        programs = ("nginx", "gateway", "engine")
        return [
            entry
            for program in programs
            for entry in stack.log_lines(program)
            if entry.get("request_id") == "join-me" and entry["event"] in ("access", "request")
        ]

    wait_until(lambda: len(entries()) == 3, 5, "three log lines")
    assert [entry["status"] for entry in entries()] == [200, 200, 200]
    assert "planted secret" not in stack.process.output


def test_verify_passes_and_writes_its_record(stack: Running, tmp_path: Path) -> None:
    record_file = tmp_path / "record.json"
    done = subprocess.run(
        [*RUN, "verify", "--url", stack.url, "--out", str(record_file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(record_file.read_text())
    assert record["verdict"] == "streamed"
    assert all(check["passed"] for check in record["checks"])
    assert record["model"]["quantization"] == "Q4_1"
    assert record["runtime"]["runs_on"] == "CPU"
    assert record["runtime"]["threads"] >= 1
    assert {"nginx", "Ollama API of the embedded engine"} <= set(record["versions"]["programs"])
    assert {"fastapi", "gunicorn", "uvicorn", "httpx", "xllamacpp"} <= set(record["versions"]["packages"])
    assert record["observed"]["last_event"]["done"] is True


def test_verify_fails_without_a_running_stack() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(
        [str(BIN / "gateway"), "verify", "--url", url, "--model", MODEL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"no answer from {url}" in done.stderr
