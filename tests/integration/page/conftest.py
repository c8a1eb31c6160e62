"""nginx in front of a gateway in front of a fake Ollama, for the tests of the page's files."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway, nginx
from tests.processes import Process


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line(), DONE)
        yield server


@pytest.fixture(scope="session")
def gateway_url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(fake.url, tmp_path_factory.mktemp("page")) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield url


@pytest.fixture(scope="session")
def edge(gateway_url: str) -> Iterator[tuple[Process, str]]:
    with nginx(urlsplit(gateway_url).port or 0) as running:
        yield running


@pytest.fixture
def client(edge: tuple[Process, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=edge[1], timeout=30) as http:
        yield http
