"""The gateway under gunicorn, as in production, in front of a fake Ollama; started once a session."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.chat.question import SECRET
from tests.integration.programs import gateway
from tests.processes import Process


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("good", line("a"), line("b"), line("c"), DONE)
        yield server


@pytest.fixture(scope="session")
def running(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    with gateway(fake.url, tmp_path_factory.mktemp("gateway")) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield process, url
    # The log is complete: also refused requests are in it, without their text.
    assert SECRET not in process.output


@pytest.fixture
def client(running: tuple[Process, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running[1], timeout=30) as http:
        yield http
