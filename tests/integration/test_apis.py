"""The invariants of a stream, each on each API, against an Ollama that misbehaves."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.ask.route import Route
from gateway.routes.table import PASSED_ON
from tests.fakes.ollama import DONE, Do, FakeOllama, Raw, line
from tests.integration.apis import CASES, Case, sent, whole_answer
from tests.integration.programs import gateway
from tests.processes import Process, free_port, wait_until

every_api = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_way = pytest.mark.parametrize(
    ("case", "streams"),
    [(case, streams) for case in CASES for streams in (True, False) if streams or case is not CASES[0]],
    ids=lambda value: value.name if isinstance(value, Case) else ("whole", "stream")[value],
)
every_api_that_can_answer_whole = pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)

IMPATIENT = {
    "GATEWAY_EARLY_COMMIT": "0.2",
    "GATEWAY_HEARTBEAT": "0.2",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "0.6",
    "GATEWAY_IDLE_TIMEOUT": "0.6",
}
BLOB = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        yield server


@pytest.fixture(scope="module")
def url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {
        "GATEWAY_ADMIN_API": "on",
        "GATEWAY_ACCOUNT_API": "on",
        "GATEWAY_WEB_SEARCH": "on",
        "GATEWAY_CORS_ORIGINS": "https://ui.example",
    }
    with gateway(fake.url, tmp_path_factory.mktemp("apis"), **settings) as (_, address):
        yield address


@pytest.fixture(scope="module")
def impatient(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(fake.url, tmp_path_factory.mktemp("impatient"), **IMPATIENT) as (_, address):
        yield address


def post(url: str, case: Case, model: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}{case.path}", json=case.request(model, **fields), timeout=30)


@every_api
def test_an_answer_passes(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("m", *case.answer.parts, case.answer.last)
    response = post(url, case, "m")
    assert response.status_code == 200
    assert case.terminals(response.content) == 1
    assert not case.tells_an_error(response.content)
    assert fake.received[-1].path == ("/api/chat" if case.name == "chat" else case.path)
    if case.name != "chat":
        assert case.same(response.content) == case.answer.whole


@every_api
def test_an_answer_in_single_bytes_is_the_same_answer(case: Case, url: str, fake: FakeOllama) -> None:
    whole = case.answer.whole
    fake.answer("whole", whole)
    fake.answer("bytes", *(whole[at : at + 1] for at in range(len(whole))))
    assert case.same(post(url, case, "bytes").content) == case.same(post(url, case, "whole").content)


@every_api
def test_a_unit_of_five_megabytes_passes(case: Case, url: str, fake: FakeOllama) -> None:
    parts = [part.replace(b"Hello", b"x" * 5_000_000) for part in case.answer.parts]
    fake.answer("large", *parts, case.answer.last)
    response = post(url, case, "large")
    assert len(response.content) > 5_000_000
    assert case.terminals(response.content) == 1


@every_api
def test_each_unit_arrives_before_the_next_one_is_generated(case: Case, url: str, fake: FakeOllama) -> None:
    fake.pause()
    fake.answer("paced", case.answer.parts[0], Do.WAIT, case.answer.last)
    with httpx.stream("POST", f"{url}{case.path}", json=case.request("paced"), timeout=30) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        fake.go_on()
        assert case.terminals(b"".join(pieces)) == 1


@every_api
@pytest.mark.parametrize("fault", ["ends", "drops", "drops within a unit", "an error", "nonsense"])
def test_a_failure_midway_is_reported_once_and_ends_the_answer(
    case: Case, url: str, fake: FakeOllama, fault: str
) -> None:
    steps: dict[str, list[bytes | Do]] = {
        "ends": [],
        "drops": [Do.DROP],
        "drops within a unit": [case.answer.parts[1][:15], Do.DROP],
        "an error": [case.answer.error],
        "nonsense": [b"<html>oops</html>\n\n"],
    }
    fake.answer("breaks", case.answer.parts[0], *steps[fault])
    asked_before = len(fake.received)
    body = post(url, case, "breaks").content
    assert len(fake.received) == asked_before + 1  # after the first byte nothing is tried again
    assert case.tells_an_error(body)
    assert case.terminals(body) == 1


@every_api
def test_silence_before_the_answer_is_filled_with_heartbeats(
    case: Case, impatient: str, fake: FakeOllama
) -> None:
    fake.pause()
    fake.answer("slow", Do.WAIT, *case.answer.parts, case.answer.last)
    with httpx.stream("POST", f"{impatient}{case.path}", json=case.request("slow"), timeout=30) as response:
        assert response.status_code == 200
        pieces = response.iter_raw()
        signs = next(pieces) + next(pieces)
        fake.go_on()
        body = signs + b"".join(pieces)
    assert re.fullmatch(rb" *|(: [a-z-]+\n\n|event: status\ndata: [^\n]+\n\n)+", signs)
    assert case.terminals(body) == 1
    assert not case.tells_an_error(body)


def test_a_client_of_chat_is_informed_that_its_model_is_being_loaded(tmp_path: Path) -> None:
    with FakeOllama().running() as fake:
        fake.answer("cold", Do.WAIT, *CASES[0].answer.parts, CASES[0].answer.last)
        with (
            gateway(fake.url, tmp_path, GATEWAY_EARLY_COMMIT="0.1", GATEWAY_HEARTBEAT="0.1") as (_, url),
            httpx.stream("POST", f"{url}/chat", json=CASES[0].request("cold"), timeout=30) as response,
        ):
            pieces = response.iter_raw()
            assert next(pieces) == b'event: status\ndata: {"state": "loading"}\n\n'
            assert next(pieces) == b": keep-alive\n\n"
            fake.go_on()
            assert CASES[0].terminals(b"".join(pieces)) == 1


@every_api
@pytest.mark.parametrize("phase", ["before the headers", "after the headers", "midway"])
def test_an_upstream_that_falls_silent_times_out(
    case: Case, impatient: str, fake: FakeOllama, phase: str
) -> None:
    begins: dict[str, list[bytes | Do]] = {
        "after the headers": [Do.HEADERS],
        "midway": [case.answer.parts[0]],
    }
    fake.answer("stalls", *begins.get(phase, []), Do.HANG)
    body = post(impatient, case, "stalls").content
    assert case.tells_an_error(body)
    assert case.terminals(body) == 1
    assert fake.received[-1].gone.wait(5)


@every_api_that_can_answer_whole
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
@pytest.mark.parametrize("streams", [True, False])
def test_upstreams_refusal_passes_unchanged(
    case: Case, url: str, fake: FakeOllama, status: int, streams: bool
) -> None:
    refusal = refusal_of(case)
    fake.answer("refuses", refusal, status=status)
    response = post(url, case, "refuses", stream=streams)
    assert (response.status_code, response.content) == (status, refusal)
    assert response.headers["content-type"] == "application/json"


def refusal_of(case: Case) -> bytes:
    """An error in the shape of the case's API."""
    if case.path.startswith("/api/"):
        return b'{"error":"no","more":"is kept"}'
    kind = b'"type":"error",' if case.name == "anthropic" else b""
    return b'{%b"error":{"message":"no","more":"is kept"}}' % kind


@every_way
@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (500, b"<html>nginx</html>", "the model server answered with status 500"),
        (503, b"", "the model server answered with status 503"),
        (400, b'{"error":"no"}', "no"),
        (404, b'{"error":{"message":"no"}}', "no"),
        (500, b'{"type":"error","error":{"message":"no"}}', "no"),
        (600, b'{"error":"no"}', "no"),
        (301, b"moved", "GATEWAY_OLLAMA_URL to the target of the redirect"),
        (307, b"", "GATEWAY_OLLAMA_URL to the target of the redirect"),
    ],
)
def test_a_refusal_in_another_shape_is_converted_to_the_apis_shape(
    case: Case, url: str, fake: FakeOllama, status: int, body: bytes, says: str, streams: bool
) -> None:
    fake.answer("refuses", body, status=status)
    response = post(url, case, "refuses", stream=streams)
    assert 400 <= response.status_code < 600
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert says in (error if isinstance(error, str) else error["message"])
    assert isinstance(error, str) is case.path.startswith("/api/")


@every_way
def test_a_compressed_answer_or_another_protocol_is_a_clear_error(
    case: Case, url: str, fake: FakeOllama, streams: bool
) -> None:
    compressed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
    switched = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
    for raw, says in ((compressed, "compressed (gzip)"), (switched, "sent an invalid HTTP response")):
        fake.answer("odd", Raw(raw))
        response = post(url, case, "odd", stream=streams)
        assert response.status_code == 502
        assert response.headers["content-type"] == "application/json"
        assert says in response.text


@pytest.fixture(scope="module")
def with_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("nothing")) as (_, address):
        yield address


@every_api
def test_an_upstream_that_is_down_is_502_in_the_apis_shape(case: Case, with_nothing_behind: str) -> None:
    response = post(with_nothing_behind, case, "m")
    assert response.status_code == 502
    error = response.json()["error"]
    assert "cannot be reached" in (error if isinstance(error, str) else error["message"])


@every_api_that_can_answer_whole
def test_a_whole_answer_passes_unchanged(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("whole", whole_answer(case)[:3], whole_answer(case)[3:])
    response = post(url, case, "whole", stream=False)
    assert response.content == whole_answer(case)
    assert response.headers["content-length"] == str(len(whole_answer(case)))


@pytest.mark.parametrize(("path", "streams"), [("/api/generate", True), ("/v1/completions", False)])
def test_a_request_that_does_not_say_whether_to_stream_gets_the_apis_default(
    path: str, streams: bool, url: str, fake: FakeOllama
) -> None:
    fake.answer("m", line(), DONE)
    for request in ({"model": "m"}, {"model": "m", "stream": None}):
        response = httpx.post(f"{url}{path}", json=request)
        assert ("content-length" not in response.headers) is streams


@every_api_that_can_answer_whole
def test_half_of_a_whole_answer_is_502(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("half", whole_answer(case)[:3], Do.DROP)
    response = post(url, case, "half", stream=False)
    assert response.status_code == 502
    assert "error" in response.json()


@every_api
@pytest.mark.parametrize("phase", ["before the first byte", "midway", "whole"])
def test_a_client_that_disconnects_closes_the_connection_upstream(
    case: Case, url: str, fake: FakeOllama, phase: str
) -> None:
    if phase == "whole" and case.name == "chat":
        return  # it always streams
    fake.answer("hangs", *([case.answer.parts[0]] if phase == "midway" else []), Do.HANG)
    asked_before = len(fake.received)
    body = json.dumps(case.request("hangs", stream=phase != "whole")).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {case.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
        if phase == "midway":
            assert connection.recv(1000)
    left = time.monotonic()
    assert fake.received[-1].gone.wait(5)
    assert time.monotonic() - left < 1


ANSWERED_BY_THE_FAKE = (
    "/api/tags",
    "/v1/models",
    "/api/blobs/{digest}",
    "/api/experimental/model-recommendations",
)
ROUTES = [route for route in PASSED_ON if route.path not in ANSWERED_BY_THE_FAKE]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_of_the_table_reaches_upstream(route: Route, url: str, fake: FakeOllama) -> None:
    fake.answer("known", DONE)
    path = route.path.replace("{model:path}", "known").replace("{key}", "c3NoLWVk")
    query = "" if route.form else "?beta=true"
    body = {} if route.method == "GET" else sent(route, {"prompt": "hi"})
    response = httpx.request(route.method, f"{url}{path}{query}", **body)
    received = fake.received[-1]
    assert (received.method, received.path) == (route.method, f"{path}{query}")
    assert response.status_code in (200, 502)  # what the fake says here is no stream


def memory_of_worker(process: Process) -> int:
    """The peak resident memory of the gateway's worker, in bytes."""
    master = process.popen.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    return int(peak) * 1024


@pytest.mark.parametrize("prefix", ["chatcmpl-", "cmpl-", "resp_"])
def test_the_id_of_a_whole_answer_is_made_unique(prefix: str, url: str, fake: FakeOllama) -> None:
    fake.answer("m", json.dumps({"id": f"{prefix}7", "object": "x"}, separators=(",", ":")).encode())
    ids = {
        httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": []}).json()["id"]
        for _ in range(3)
    }
    assert len(ids) == 3
    assert all(value.startswith(prefix) for value in ids)


@pytest.mark.parametrize("name", ["some.host/space/name:tag", "SPACE/name"])
def test_a_model_whose_name_has_a_slash_is_found(name: str, url: str, fake: FakeOllama) -> None:
    fake.models = [{"id": "some.host/space/name:tag"}, {"id": "space/name:latest"}]
    found = httpx.get(f"{url}/v1/models/{name}")
    assert (found.status_code, "name" in found.json()["id"]) == (200, True)
    missing = httpx.get(f"{url}/v1/models/no/such")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")


def test_escapes_in_a_path_are_kept_on_the_way_upstream(url: str, fake: FakeOllama) -> None:
    path = "/api/blobs/sha256:1%20HTTP%0D%0AEvil:%201%3Fa%23b"
    httpx.head(url + path, headers={"x-request-id": "escaped"})
    (received,) = [seen for seen in fake.received if seen.headers.get("x-request-id") == "escaped"]
    assert received.path == path
    assert "evil" not in received.headers


def test_a_client_that_stops_reading_takes_little_memory_and_delays_no_other(
    fake: FakeOllama, tmp_path: Path
) -> None:
    fake.answer("much", *[line("x" * 1000) * 20] * 1000, DONE)
    fake.answer("good", line(), DONE)
    request = {"model": "much", "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(request).encode()
    with ExitStack() as stack:
        process, address = stack.enter_context(
            gateway(fake.url, tmp_path, GATEWAY_SEND_TIMEOUT="3", GATEWAY_SLOTS="40")
        )
        host, port = address.removeprefix("http://").split(":")
        before = memory_of_worker(process)
        head = f"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        stalled = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(40)]
        for connection in stalled:
            connection.sendall(head.encode() + body)
        wait_until(lambda: fake.answering == 40, 30, "all are being answered")
        times = []
        while fake.answering:
            started = time.monotonic()
            good = httpx.post(f"{address}/chat", json={**request, "model": "good"})
            times.append(time.monotonic() - started)
            assert good.content.count(b"data:") == 2
        assert len(times) > 3
        assert max(times) < 3
        assert (memory_of_worker(process) - before) / len(stalled) < 1_000_000


def test_an_upload_is_not_buffered(fake: FakeOllama, tmp_path: Path) -> None:
    size, piece = 400 * 1024 * 1024, b"x" * 1024 * 1024

    def content() -> Iterator[bytes]:
        for _ in range(size // len(piece)):
            yield piece

    with gateway(fake.url, tmp_path, GATEWAY_ADMIN_API="on") as (process, address):
        before = memory_of_worker(process)
        headers = {"Content-Length": str(size)}
        response = httpx.post(f"{address}/api/blobs/{BLOB}", content=content(), headers=headers, timeout=60)
        assert (response.status_code, response.json()) == (201, {"swallowed": size})
        assert memory_of_worker(process) - before < 30 * 1024 * 1024


def test_a_client_that_disconnects_during_an_upload_closes_the_connection_upstream(
    url: str, fake: FakeOllama
) -> None:
    asked_before = len(fake.received)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /api/blobs/{BLOB} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 1000)
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
    assert fake.received[-1].gone.wait(5)


@pytest.mark.parametrize("path", [route.path for route in PASSED_ON if route.kind in ("admin", "account")])
def test_managing_models_is_refused_unless_it_is_switched_on(
    path: str, impatient: str, fake: FakeOllama
) -> None:
    asked_before = len(fake.received)
    (method,) = {route.method for route in PASSED_ON if route.path == path} - {"HEAD"} or {"HEAD"}
    response = httpx.request(method, f"{impatient}{path.replace('{digest}', BLOB)}")
    assert response.status_code == 403
    assert "GATEWAY_ADMIN_API" in response.json()["error"]
    assert len(fake.received) == asked_before


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/api/nothing", {"error"}),
        ("/v1/nothing", {"error"}),
        ("/v1/messages/count_tokens", {"type", "error", "request_id"}),
    ],
)
def test_an_unknown_path_is_404_in_the_apis_shape(path: str, shape: set[str], url: str) -> None:
    response = httpx.post(f"{url}{path}")
    assert response.status_code == 404
    assert set(response.json()) == shape


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
