"""The outcome of a request, however it ends, in the log and in the metrics."""

import json
import re
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.chat.question import SECRET, question
from tests.integration.programs import gateway, line_of
from tests.integration.raw_requests.edges import until_closed
from tests.processes import Process, listens, wait_until


def log_lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(text) for text in process.output.splitlines()]


def outcomes(process: Process) -> list[str]:
    return [entry["outcome"] for entry in log_lines(process) if entry.get("route") == "/chat"]


def metric(client: httpx.Client, pattern: str) -> float:
    found = re.findall(rf"^{pattern} (\S+)$", client.get("/metrics").text, re.M)
    assert found, f"there is no {pattern}"
    return sum(map(float, found))


def test_a_request_is_one_log_line_without_its_text(running: tuple[Process, str]) -> None:
    process, url = running
    httpx.post(f"{url}/chat", json=question("good"), headers={"X-Request-Id": "logged"})
    entry = line_of(process, "logged")
    expected = {
        "event": "request",
        "route": "/chat",
        "model": "good",
        "backend": "ollama",
        "outcome": "ok",
        "status": 200,
        "chunks": 4,
        "prompt_tokens": 11,
        "output_tokens": 3,
        "client": "127.0.0.1",
    }
    assert expected.items() <= entry.items()
    assert 0 < entry["ttft_seconds"] <= entry["duration_seconds"]
    assert SECRET not in process.output


def test_the_log_names_the_clients_trace(client: httpx.Client, running: tuple[Process, str]) -> None:
    headers = {"X-Request-Id": "traced", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    client.post("/chat", json=question("good"), headers=headers)
    assert line_of(running[0], "traced")["trace_id"] == "a" * 32


def test_requests_are_counted_by_route_model_outcome_and_status(client: httpx.Client) -> None:
    client.get("/nothing")
    counter = r'gateway_requests_total\{model="good:latest",outcome="ok",route="/chat",status="200"\}'
    before = metric(client, counter)
    client.post("/chat", json=question("good"))
    # The client has its answer before the request is settled.
    wait_until(lambda: metric(client, counter) == before + 1, 5, "the request is counted")
    assert metric(client, r'gateway_requests_total\{model="other",.*,route="unmatched",status="404"\}') > 0


def test_the_time_to_the_first_chunk_is_measured_for_known_models_only(
    client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("GOOD", line(), DONE)
    name = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
    series = rf'{name}\{{gen_ai_operation_name="chat",gen_ai_request_model="good:latest",load="\w+"\}}'
    before = metric(client, series)
    client.post("/chat", json=question("GOOD"))
    wait_until(lambda: metric(client, series) == before + 1, 5, "the request is counted")
    client.post("/chat", json=question("nobody"))
    assert "nobody" not in client.get("/metrics").text


def test_a_connection_that_breaks_after_a_complete_answer_is_not_a_failure(
    running: tuple[Process, str], client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("rude", line(), DONE, Do.DROP)
    body = client.post("/chat", json=question("rude"), headers={"X-Request-Id": "rude"}).content
    assert body.count(b"\n\n") == 2
    assert line_of(running[0], "rude")["outcome"] == "ok"


@pytest.mark.parametrize(("phase", "steps"), [("headers", [Do.HANG]), ("mid-stream", [line(), Do.HANG])])
def test_a_client_that_disconnects_closes_the_connection_upstream(
    running: tuple[Process, str], client: httpx.Client, fake: FakeOllama, phase: str, steps: list[Any]
) -> None:
    fake.answer("hangs", *steps)
    asked_before = len(fake.received)
    host, port = running[1].removeprefix("http://").split(":")
    body = json.dumps(question("hangs")).encode()
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /chat HTTP/1.1\r\nHost: x\r\nX-Request-Id: leaves-{phase}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
        if phase == "mid-stream":
            assert connection.recv(1000)
    assert fake.received[-1].gone.wait(5)
    entry = line_of(running[0], f"leaves-{phase}")
    assert (entry["outcome"], entry["status"]) == ("client_gone", 499)
    assert metric(client, r"gateway_requests_in_flight\{.*\}") == 0


@pytest.mark.parametrize("body_bytes", [0, 30_000], ids=["a head", "a head and a part of its body"])
def test_a_client_that_has_sent_its_next_request_and_disconnects_is_noticed(
    running: tuple[Process, str], fake: FakeOllama, body_bytes: int
) -> None:
    fake.answer("hangs", Do.HANG)
    asked_before = len(fake.received)
    host, port = running[1].removeprefix("http://").split(":")
    # Not streamed: a heartbeat would meet the closed connection.
    body = json.dumps({**question("hangs"), "stream": False}).encode()
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
        connection.sendall(
            b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" + b" " * body_bytes
        )
        # The gateway has read it before the connection is closed: one worker reads its connections in turn.
        httpx.get(f"{running[1]}/healthz")
    assert fake.received[-1].gone.wait(5)


def test_a_client_that_reads_nothing_is_disconnected(fake: FakeOllama, tmp_path: Path) -> None:
    fake.answer("large", *[line("x" * 500_000)] * 60, DONE)
    with gateway(fake.url, tmp_path, GATEWAY_SEND_TIMEOUT="1") as (process, url):
        host, port = url.removeprefix("http://").split(":")
        body = json.dumps(question("large")).encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                f"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            )
            assert wait_for_reset(connection)
        wait_until(lambda: outcomes(process), 5, "the request is in the log")
        assert outcomes(process) == ["client_gone"]


@pytest.mark.parametrize("pipelined", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_client_that_does_not_read_a_whole_answer_is_disconnected(
    fake: FakeOllama, tmp_path: Path, pipelined: bytes
) -> None:
    fake.answer("vectors", b'{"embeddings":[[' + b"0.123456," * 2_000_000 + b"0]]}")
    with gateway(fake.url, tmp_path, GATEWAY_SEND_TIMEOUT="1") as (process, url):
        process.wait_ready(f"{url}/readyz")
        host, port = url.removeprefix("http://").split(":")
        body = json.dumps({"model": "vectors", "input": "x"}).encode()
        head = f"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head + body + pipelined)
            assert wait_for_reset(connection)
        wait_until(
            lambda: "gateway_stalled_readers_total 1.0" in httpx.get(f"{url}/metrics").text, 5, "it counts"
        )


def test_a_client_that_reads_a_whole_answer_slowly_gets_all_of_it(fake: FakeOllama, tmp_path: Path) -> None:
    answer = b'{"embeddings":[[' + b"0.123456," * 2_000_000 + b"0]]}"
    fake.answer("vectors", answer)
    with gateway(fake.url, tmp_path, GATEWAY_SEND_TIMEOUT="0.5") as (process, url):
        process.wait_ready(f"{url}/readyz")
        question = {"model": "vectors", "input": "x"}
        with httpx.stream("POST", f"{url}/api/embed", json=question, timeout=30) as response:
            pieces = []
            for piece in response.iter_raw(1_000_000):
                pieces.append(piece)
                time.sleep(0.15)  # it reads slowly
        assert b"".join(pieces) == answer


def wait_for_reset(connection: socket.socket) -> bool:
    """Whether the other side has reset the connection, which shows without reading from it."""
    poll = select.poll()
    poll.register(connection, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(20_000))


def test_stopping_lets_a_running_answer_finish(fake: FakeOllama, tmp_path: Path) -> None:
    fake.answer("finishes", line(), Do.WAIT, DONE)
    fake.pause()
    with gateway(fake.url, tmp_path) as (process, url):
        with httpx.stream("POST", f"{url}/chat", json=question("finishes"), timeout=30) as response:
            pieces = response.iter_raw()
            next(pieces)
            process.popen.send_signal(signal.SIGTERM)
            wait_until(lambda: not listens(int(url.rpartition(":")[2])), 5, "no new connection is taken")
            fake.go_on()
            assert b'"done":true' in b"".join(pieces)
        assert process.popen.wait(10) == 0


def test_stopping_ends_an_answer_that_takes_too_long_with_an_error_event(
    fake: FakeOllama, tmp_path: Path
) -> None:
    fake.answer("endless", line(), Do.HANG)
    with gateway(fake.url, tmp_path) as (process, url):
        with httpx.stream("POST", f"{url}/chat", json=question("endless"), timeout=30) as response:
            pieces = response.iter_raw()
            next(pieces)
            process.popen.send_signal(signal.SIGTERM)
            assert b"shutting_down" in b"".join(pieces)
        assert fake.received[-1].gone.wait(5)
        assert process.popen.wait(10) == 0
        assert outcomes(process) == ["drained"]


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{",
        b"GET /api/experimental/model-recommendations HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["an incomplete body", "a list that upstream does not send"],
)
def test_stopping_refuses_a_request_that_cannot_be_forwarded_in_time(sent: bytes, tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        gateway(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path) as (process, url),
    ):
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(sent)
            # Answered after the request above has begun: one worker reads its connections in turn.
            assert httpx.get(f"{url}/healthz").status_code == 200
            process.popen.send_signal(signal.SIGTERM)
            got = until_closed(connection)
        assert process.popen.wait(10) == 0
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 "), got
        assert b"\r\nretry-after: 5\r\n" in head
        assert b"restarting" in body
        lines = [entry for entry in log_lines(process) if entry["event"] == "request"]
        assert [(entry["outcome"], entry["status"]) for entry in lines] == [("drained", 503)]
