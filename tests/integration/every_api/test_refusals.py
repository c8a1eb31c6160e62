"""Errors before the answer, in the shape of the API."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.routes.table import PASSED_ON
from tests.fakes.ollama import FakeOllama, Raw
from tests.integration.apis import Case
from tests.integration.every_api.requests import (
    BLOB,
    every_api,
    every_api_that_can_answer_whole,
    every_way,
    post,
)
from tests.integration.programs import gateway
from tests.processes import free_port


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
