"""nginx with the shipped files, in front of the gateway and a fake Ollama."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.dialects.api import api_of
from gateway.errors import BodyTooLarge
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import LIMITS, MAX_BODY, gateway, line_of, nginx
from tests.processes import Process, wait_until

PAGE = "https://ui.example"

# More than all socket buffers on the way can hold.
LARGE = [line("x" * 500_000)] * 100


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line(), DONE)
        server.answer("large", *LARGE, DONE)
        server.answer("silent", Do.HANG)
        yield server


@pytest.fixture(scope="module")
def behind(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    settings = {"GATEWAY_ADMIN_API": "on", "GATEWAY_CORS_ORIGINS": PAGE}
    with gateway(fake.url, tmp_path_factory.mktemp("edge"), **settings) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield process, url


@pytest.fixture(scope="module")
def gateway_port(behind: tuple[Process, str]) -> int:
    return int(behind[1].rpartition(":")[2])


@pytest.fixture(scope="module")
def edge(gateway_port: int) -> Iterator[tuple[Process, str]]:
    with nginx(gateway_port, settings=LIMITS) as running:
        yield running


@pytest.fixture
def url(edge: tuple[Process, str]) -> str:
    return edge[1]


@pytest.fixture
def edge_log(edge: tuple[Process, str]) -> Process:
    return edge[0]


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as http:
        yield http


def question(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}]}


def connection(url: str, model: str) -> socket.socket:
    """A client that has sent a request and does not read."""
    body = json.dumps(question(model)).encode()
    host, port = url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(f"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


def written_when_it_stalls(fake: FakeOllama, asked_before: int) -> int:
    """The bytes that upstream could send until it was blocked for a second, or had sent everything."""
    wait_until(lambda: len(fake.received) > asked_before, 10, "upstream is asked")
    received = fake.received[-1]
    last, since = -1, time.monotonic()

    def stalled() -> bool:
        nonlocal last, since
        if received.written != last:
            last, since = received.written, time.monotonic()
        return received.answered.is_set() or time.monotonic() - since > 1

    wait_until(stalled, 60, "upstream stalls or is done")
    return received.written


def test_a_client_that_stops_reading_slows_upstream_down(fake: FakeOllama, url: str) -> None:
    asked_before = len(fake.received)
    with connection(url, "large"):
        assert written_when_it_stalls(fake, asked_before) < sum(map(len, LARGE))
        assert not fake.received[-1].answered.is_set()
    assert fake.received[-1].gone.wait(5)


def test_with_proxy_buffering_upstream_would_not_be_slowed(fake: FakeOllama, gateway_port: int) -> None:
    """Proves that the test above depends on that single line of the configuration."""
    asked_before = len(fake.received)
    with (
        nginx(gateway_port, ("proxy_buffering off;", "proxy_buffering on;")) as (_, url),
        connection(url, "large"),
    ):
        written_when_it_stalls(fake, asked_before)
        assert fake.received[-1].answered.is_set()


def test_a_client_that_disconnects_before_upstream_answers_frees_it(fake: FakeOllama, url: str) -> None:
    asked_before = len(fake.received)
    with connection(url, "silent"):
        wait_until(lambda: len(fake.received) > asked_before, 10, "upstream is asked")
    assert fake.received[-1].gone.wait(1)


def test_an_answer_keeps_its_streaming_headers(client: httpx.Client) -> None:
    headers = client.post("/chat", json=question("good")).headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/metrics%2f", "/x/../metrics/"])
def test_metrics_are_refused(client: httpx.Client, url: str, path: str) -> None:
    response = client.get(f"{url}{path}")
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert response.headers["x-request-id"] == response.json()["error"]["request_id"]
    head = client.head(f"{url}{path}")
    assert (head.status_code, head.content) == (403, b"")


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("OPTIONS", {"Access-Control-Request-Method": "POST"}),
        (
            "OPTIONS",
            {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"},
        ),
    ],
    ids=["HEAD", "preflight", "preflight for a private network"],
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/version", "/chat", "/nothing"])
def test_the_gateways_answers_to_head_and_preflights_pass_unchanged(
    client: httpx.Client, behind: tuple[Process, str], method: str, headers: dict[str, str], path: str
) -> None:
    # Headers that nginx adds, or that differ between answers.
    not_compared = {"server", "date", "connection", "x-request-id", "content-length", "transfer-encoding"}
    sent = {**headers, "Origin": PAGE}
    direct, through = (
        httpx.request(method, f"{url}{path}", headers=sent, trust_env=False)
        for url in (behind[1], str(client.base_url).rstrip("/"))
    )
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    for name in direct.headers.keys() - not_compared:
        assert through.headers[name] == direct.headers[name]


def test_every_answer_carries_the_security_headers(client: httpx.Client) -> None:
    for path in ("/readyz", "/nothing", "/metrics"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
        assert headers["server"] == "nginx", path


def test_the_gateway_answers_unknown_paths(client: httpx.Client) -> None:
    assert client.get("/nothing").json()["error"]["code"] == "not_found"


def test_a_long_prompt_is_not_written_to_disk(client: httpx.Client, url: str, edge_log: Process) -> None:
    request = {"model": "good", "messages": [{"role": "user", "content": "x" * (MAX_BODY - 1000)}]}
    assert client.post("/chat", json=request).status_code == 200
    assert "temporary file" not in edge_log.output


def test_a_layer_of_a_model_may_be_larger_than_any_other_body(client: httpx.Client) -> None:
    response = client.post("/api/blobs/sha256:0", content=b"x" * (MAX_BODY + 2 * 1024 * 1024))
    assert response.status_code == 201


def test_what_is_not_http_is_400_in_the_same_shape(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\nContent-Length: one\r\n\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad_request"' in answer


@pytest.mark.parametrize("path", ["/chat", "/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize(
    "size", [MAX_BODY + 1, 2 * MAX_BODY], ids=["refused by the gateway", "refused by nginx"]
)
def test_a_body_over_the_limit_is_413_in_the_same_shape_from_nginx_and_gateway(
    client: httpx.Client, edge_log: Process, size: int, path: str
) -> None:
    response = client.post(path, content=b"x" * size)
    request_id = response.headers["x-request-id"]
    by_gateway = bool(line_of(edge_log, request_id)["upstream"])
    assert by_gateway == (size == MAX_BODY + 1)
    got = BodyTooLarge(f"the request body is larger than {MAX_BODY} bytes")
    assert (response.status_code, response.json()) == (413, api_of(path).error_body(got, request_id))


@pytest.mark.parametrize(("given", "kept"), [("my-id.1", True), ("x" * 129, False), ("a b", False)])
def test_a_well_formed_request_id_reaches_upstream(
    client: httpx.Client, fake: FakeOllama, given: str, kept: bool
) -> None:
    response = client.post("/chat", json=question("good"), headers={"X-Request-Id": given})
    assert (response.headers["x-request-id"] == given) is kept
    assert fake.received[-1].headers["x-request-id"] == response.headers["x-request-id"]


def test_a_trace_context_reaches_upstream(client: httpx.Client, fake: FakeOllama) -> None:
    sent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "c=d,e=f"}
    client.post("/chat", json=question("good"), headers=sent)
    assert {name: fake.received[-1].headers[name] for name in sent} == sent


def test_the_logs_of_nginx_and_gateway_are_joined_by_the_request_id(
    client: httpx.Client, behind: tuple[Process, str], edge_log: Process, fake: FakeOllama
) -> None:
    logs = edge_log, behind[0]
    for path, status in (("/chat", 200), ("/v1/chat/completions", 502), ("/nothing", 404)):
        response = client.post(path, json={**question("good"), "stream": True})
        at_the_edge, behind_it = (line_of(log, response.headers["x-request-id"]) for log in logs)
        assert at_the_edge["path"] == path
        assert at_the_edge["status"] == behind_it["status"] == response.status_code == status
        assert float(at_the_edge["upstream_duration_seconds"]) >= behind_it["duration_seconds"] - 0.1
        if status != 404:
            assert fake.received[-1].headers["x-request-id"] == response.headers["x-request-id"]


def test_no_prompt_no_answer_and_no_key_is_in_any_log(
    client: httpx.Client, behind: tuple[Process, str], edge_log: Process, fake: FakeOllama
) -> None:
    secrets = ["prompt", "answer", "bearer", "api-key", "query", "cookie"]
    planted = {name: f"planted-{name}-4711" for name in secrets}
    error = json.dumps({"error": planted["answer"]}).encode()
    fake.answer("tells", line(planted["answer"]), DONE)
    fake.answer("fails", line(planted["answer"]), error + b"\n")
    fake.answer("refuses", error, status=500)
    headers = {
        "Authorization": f"Bearer {planted['bearer']}",
        "X-Api-Key": planted["api-key"],
        "Cookie": f"session={planted['cookie']}",
    }
    prompt = [{"role": "user", "content": planted["prompt"]}]
    answers = []
    for model in ("tells", "fails", "refuses", "nobody"):
        for path in ("/chat", "/api/chat", "/v1/messages"):
            request = {"model": model, "messages": prompt, "stream": True}
            answers.append(client.post(f"{path}?key={planted['query']}", json=request, headers=headers))
    nonsense = json.dumps({"messages": prompt})[:-1].encode()
    bodies = (nonsense, b"x" * (MAX_BODY + 1), b"x" * (2 * MAX_BODY))
    answers.extend(client.post("/chat", content=body, headers=headers) for body in bodies)
    answers.append(client.get(f"/nothing?key={planted['query']}", headers=headers))
    assert {answer.status_code for answer in answers} >= {200, 400, 404, 413, 502}
    assert planted["answer"] in answers[0].text
    for log in (behind[0], edge_log):
        assert line_of(log, answers[-1].headers["x-request-id"])
        assert [secret for secret in planted.values() if secret in log.output] == []
