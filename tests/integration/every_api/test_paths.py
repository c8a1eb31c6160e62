"""What is requested of upstream: every route, models with a slash, escapes."""

import httpx
import pytest

from gateway.ask.route import Route
from gateway.routes.table import PASSED_ON
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import sent

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
