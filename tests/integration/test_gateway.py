"""The gateway under gunicorn, as in production, in front of an Ollama that misbehaves."""

import json
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import MAX_BODY, gateway
from tests.processes import BIN, Process, free_port, listens, wait_until

SECRET = "the-user's-secret"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line("a"), line("b"), line("c"), DONE)
        yield server


@pytest.fixture(scope="module")
def running(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    with gateway(fake.url, tmp_path_factory.mktemp("gateway")) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield process, url


@pytest.fixture
def client(running: tuple[Process, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[1], timeout=30) as http:
        yield http


def question(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": SECRET}], **fields}


def log_lines(process: Process) -> list[dict[str, Any]]:
    return [json.loads(text) for text in process.output.splitlines()]


def log_of(process: Process, request_id: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return [entry for entry in log_lines(process) if entry.get("request_id") == request_id]

    wait_until(found, 5, f"a log line for {request_id}")
    (entry,) = found()
    return entry


def outcomes(process: Process) -> list[str]:
    return [entry["outcome"] for entry in log_lines(process) if entry.get("route") == "/chat"]


def metric(client: httpx.Client, pattern: str) -> float:
    found = re.findall(rf"^{pattern} (\S+)$", client.get("/metrics").text, re.M)
    assert found, f"there is no {pattern}"
    return sum(map(float, found))


def test_an_answer_comes_as_events(client: httpx.Client) -> None:
    response = client.post("/chat", json=question("good"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    events = response.content.split(b"\n\n")[:-1]
    assert events == [
        b"id: %d\ndata: %b" % (number, text.rstrip())
        for number, text in enumerate([line("a"), line("b"), line("c"), DONE], 1)
    ]


def test_the_request_reaches_upstream_unchanged(client: httpx.Client, fake: FakeOllama) -> None:
    body = json.dumps(question("good", options={"seed": 1}, new_field=[1])).encode()
    client.post(
        "/chat",
        content=body,
        headers={"X-Request-Id": "my-id.1", "Cookie": "c=1", "Origin": "http://localhost"},
    )
    received = fake.received[-1]
    assert (received.path, received.body) == ("/api/chat", body)
    assert received.headers["x-request-id"] == "my-id.1"
    assert not {"cookie", "origin"} & set(received.headers)


@pytest.mark.parametrize("sent", [{}, {"traceparent": "00-x-y-01", "tracestate": "a=1"}])
def test_no_trace_context_is_invented(client: httpx.Client, fake: FakeOllama, sent: dict[str, str]) -> None:
    client.post("/chat", json=question("good"), headers=sent)
    assert not {"traceparent", "tracestate"} & set(fake.received[-1].headers)


def test_the_log_names_the_clients_trace(client: httpx.Client, running: tuple[Process, str]) -> None:
    headers = {"X-Request-Id": "traced", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    client.post("/chat", json=question("good"), headers=headers)
    assert log_of(running[0], "traced")["trace_id"] == "a" * 32


def test_a_curl_without_a_content_type_works(client: httpx.Client) -> None:
    body = json.dumps(question("good"))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/chat", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"b', "é"])
def test_a_request_id_that_is_not_well_formed_is_replaced(client: httpx.Client, given: str) -> None:
    response = client.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])


def test_each_token_arrives_before_the_next_one_is_generated(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("paced", line("first"), Do.WAIT, DONE)
    with client.stream("POST", "/chat", json=question("paced")) as response:
        pieces = response.iter_raw()
        assert b"first" in next(pieces)
        fake.go_on()
        assert b'"done":true' in b"".join(pieces)


def test_an_answer_in_single_bytes_is_the_same_answer(client: httpx.Client, fake: FakeOllama) -> None:
    answer = line("é\u2028") + DONE
    fake.answer("whole", answer)
    fake.answer("bytes", *(answer[at : at + 1] for at in range(len(answer))))
    assert (
        client.post("/chat", json=question("bytes")).content
        == client.post("/chat", json=question("whole")).content
    )


def test_a_line_of_five_megabytes_passes(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("long", line("x" * 5_000_000), DONE)
    assert len(client.post("/chat", json=question("long")).content) > 5_000_000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b"nonsense", "not valid JSON"),
        (json.dumps({"messages": []}).encode(), "model"),
        (json.dumps({"model": "", "messages": [{"role": "user", "content": "hi"}]}).encode(), "model"),
        (json.dumps(question("good", stream=False)).encode(), "always streams"),
    ],
)
def test_an_invalid_request_gets_400_with_the_reason(
    client: httpx.Client, fake: FakeOllama, body: bytes, says: str
) -> None:
    asked_before = len(fake.received)
    response = client.post("/chat", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert says in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["request_id"] == response.headers["x-request-id"]
    assert len(fake.received) == asked_before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": []},
        {"messages": [], "keep_alive": 0},
        {"messages": [{"role": "WIZARD", "content": None}, {"role": "assistant", "thinking": "hm"}]},
        {"messages": [{"role": "user", "content": "\ud83d"}, {"role": "tool", "tool_name": "f"}]},
    ],
)
def test_chat_accepts_what_ollamas_api_chat_accepts(
    client: httpx.Client, fake: FakeOllama, fields: dict[str, Any]
) -> None:
    body = json.dumps({"model": "good", **fields}).encode()
    assert client.post("/chat", content=body).status_code == 200
    assert fake.received[-1].body == body


def test_a_body_over_the_limit_is_refused_with_or_without_a_content_length(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"{" * (MAX_BODY + 1)

    for content in (b"{" * (MAX_BODY + 1), pieces()):
        response = client.post("/chat", content=content)
        assert response.status_code == 413
        assert str(MAX_BODY) in response.json()["error"]["message"]


def test_an_unknown_path_or_method_is_404_or_405_in_the_same_shape(client: httpx.Client) -> None:
    assert client.get("/nothing").json()["error"]["code"] == "not_found"
    response = client.get("/chat")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert response.json()["error"]["code"] == "method_not_allowed"
    assert client.put("/").headers["allow"] == "GET, HEAD"
    assert client.put("/api/blobs/sha256:0").headers["allow"] == "HEAD, POST"
    assert client.put("/readyz").headers["allow"] == "GET, HEAD"


def test_an_unknown_model_is_404_with_ollamas_message(client: httpx.Client) -> None:
    response = client.post("/chat", json=question("nobody"))
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "model 'nobody' not found"


@pytest.mark.parametrize(
    ("upstream_status", "status", "code"),
    [(400, 400, "invalid_request"), (500, 502, "upstream_error"), (503, 503, "upstream_busy")],
)
def test_upstreams_refusal_keeps_its_message(
    client: httpx.Client, fake: FakeOllama, upstream_status: int, status: int, code: str
) -> None:
    fake.answer("refuses", b'{"error":"no, because"}', status=upstream_status)
    response = client.post("/chat", json=question("refuses"))
    assert response.status_code == status
    assert (response.json()["error"]["code"], response.json()["error"]["message"]) == (code, "no, because")


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([line(), Do.DROP], "upstream_truncated"),
        ([line(), line()[:20], Do.DROP], "upstream_truncated"),
        ([line()], "upstream_truncated"),
        ([line(), b'{"error":"boom"}\n'], "upstream_error"),
        ([line(), b"<html>\n"], "upstream_error"),
    ],
)
def test_a_failure_midway_is_the_last_event(
    client: httpx.Client, fake: FakeOllama, steps: list[Any], code: str
) -> None:
    fake.answer("breaks", *steps)
    events = client.post("/chat", json=question("breaks")).content.split(b"\n\n")
    assert events[0].startswith(b"id: 1\ndata: ")
    assert events[-1] == b""
    name, data = events[-2].split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["code"] == code
    assert len(events) == 3


def test_a_connection_that_is_closed_without_an_answer_is_502(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("closes", Do.DROP)
    response = client.post("/chat", json=question("closes"))
    assert response.status_code == 502


def test_an_error_whose_body_breaks_off_keeps_its_status(client: httpx.Client, fake: FakeOllama) -> None:
    fake.answer("breaks off", b'{"err', Do.DROP, status=503)
    assert client.post("/chat", json=question("breaks off")).status_code == 503


def test_a_connection_that_breaks_after_a_complete_answer_is_not_a_failure(
    running: tuple[Process, str], client: httpx.Client, fake: FakeOllama
) -> None:
    fake.answer("rude", line(), DONE, Do.DROP)
    body = client.post("/chat", json=question("rude"), headers={"X-Request-Id": "rude"}).content
    assert body.count(b"\n\n") == 2
    assert log_of(running[0], "rude")["outcome"] == "ok"


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


def wait_for_reset(connection: socket.socket) -> bool:
    """Whether the other side has reset the connection, which shows without reading from it."""
    poll = select.poll()
    poll.register(connection, select.POLLERR | select.POLLHUP)
    return bool(poll.poll(20_000))


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
    closed = time.monotonic()
    assert fake.received[-1].gone.wait(5)
    assert time.monotonic() - closed < 1
    entry = log_of(running[0], f"leaves-{phase}")
    assert (entry["outcome"], entry["status"]) == ("client_gone", 499)
    assert metric(client, r"gateway_requests_in_flight\{.*\}") == 0


def test_an_upstream_that_is_down_is_502_immediately_and_not_ready(tmp_path: Path) -> None:
    with gateway(f"http://127.0.0.1:{free_port()}", tmp_path) as (_, url):
        response = httpx.post(f"{url}/chat", json=question("good"))
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_unreachable"
        assert response.headers["retry-after"] == "5"
        ready = httpx.get(f"{url}/readyz")
        assert (ready.status_code, ready.json()["missing"]) == (503, "the model server is not reachable")


def test_an_upstream_that_accepts_no_connection_is_502_within_the_connect_timeout(tmp_path: Path) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(full.getsockname())
        with gateway(f"http://127.0.0.1:{full.getsockname()[1]}", tmp_path) as (_, url):
            started = time.monotonic()
            response = httpx.post(f"{url}/chat", json=question("good"), timeout=30)
            assert response.status_code == 502
            assert 0.9 < time.monotonic() - started < 5
        for connection in waiting:
            connection.close()


def test_an_upstream_that_does_not_speak_http_is_502(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        gateway(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path) as (_, url),
    ):

        def answer_with_nonsense() -> None:
            with suppress(OSError):  # until the server is closed
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

        threading.Thread(target=answer_with_nonsense, daemon=True).start()
        response = httpx.post(f"{url}/chat", json=question("good"), timeout=30)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_error"


def test_readyz_requires_the_default_model(fake: FakeOllama, tmp_path: Path) -> None:
    with gateway(fake.url, tmp_path, GATEWAY_DEFAULT_MODEL="Later") as (process, url):
        wait_until(lambda: "Later" in httpx.get(f"{url}/readyz").text, 5, "/readyz names the model")
        assert httpx.get(f"{url}/readyz").status_code == 503
        fake.answer("later:latest", DONE)
        process.wait_ready(f"{url}/readyz")


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
    assert "nobody" not in client.get("/metrics").text


def test_a_request_is_one_log_line_without_its_text(running: tuple[Process, str]) -> None:
    process, url = running
    httpx.post(f"{url}/chat", json=question("good"), headers={"X-Request-Id": "logged"})
    entry = log_of(process, "logged")
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


def test_the_documentation_describes_the_request(client: httpx.Client) -> None:
    documentation = client.get("/openapi.json")
    assert "$ref" not in documentation.text
    schema = documentation.json()["paths"]["/chat"]["post"]
    assert {"model", "messages"} <= set(
        schema["requestBody"]["content"]["application/json"]["schema"]["properties"]
    )
    assert client.get("/docs").status_code == 200


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


def test_a_bad_setting_stops_the_start_with_one_clear_line(tmp_path: Path) -> None:
    process = Process([str(BIN / "gateway"), "serve"], {"GATEWAY_PORT": "many"}, tmp_path / "log")
    assert process.popen.wait(30) == 1
    (text,) = process.output.splitlines()
    assert text.startswith("gateway: GATEWAY_PORT: ")
