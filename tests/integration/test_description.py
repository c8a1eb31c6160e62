"""The description in /openapi.json matches what the gateway does."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway

# Not that everything is taken which the description allows: that a message must say something, in one of
# three fields each of which may be missing or null, would take a page.
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
EXAMPLES = 12


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    switched_on = {"GATEWAY_ADMIN_API": "on", "GATEWAY_ACCOUNT_API": "on"}
    with FakeOllama().running() as fake:
        fake.answer("smollm2:135m", line(), DONE)
        with gateway(fake.url, tmp_path_factory.mktemp("description"), **switched_on) as (process, url):
            process.wait_ready(f"{url}/readyz")
            yield url


@pytest.fixture(scope="module")
def described(url: str) -> Any:
    return schemathesis.openapi.from_dict(httpx.get(f"{url}/openapi.json").json())


def test_it_describes_every_route(described: Any) -> None:
    operations = [operation.ok() for operation in described.get_all_operations()]
    there = {(operation.method.upper(), operation.path) for operation in operations}
    assert there >= {(route.method, route.path.replace(":path", "")) for route in (CHAT_ROUTE, *PASSED_ON)}


@pytest.mark.parametrize("outside", ["https://llm.example/", "https://llm.example/some/where/"])
def test_the_documentation_works_behind_a_proxy_with_a_path_prefix(url: str, outside: str) -> None:
    (description,) = re.findall(r"url: '([^']*)'", httpx.get(f"{url}/docs").text)
    assert urljoin(f"{outside}docs", description) == f"{outside}openapi.json"
    (server,) = httpx.get(f"{url}/openapi.json").json()["servers"]
    assert urljoin(f"{outside}openapi.json", server["url"]) == outside
    moved = httpx.get(f"{url}/docs/")
    assert moved.is_redirect
    assert urljoin(f"{outside}docs/", moved.headers["location"]) == f"{outside}docs"


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_match_the_description(described: Any, url: str, mode: GenerationMode) -> None:
    checks = [*CHECKS, negative_data_rejection] if mode == GenerationMode.NEGATIVE else CHECKS
    with requests.Session() as session:
        for found in described.get_all_operations():
            operation = found.ok()
            takes_something = operation.path_parameters or operation.body
            if mode == GenerationMode.NEGATIVE and not operation.body:
                continue

            @settings(
                max_examples=EXAMPLES if takes_something else 1,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                case.call_and_validate(base_url=url, session=session, checks=checks)

            check()
