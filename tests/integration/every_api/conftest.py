"""A gateway in front of a fake Ollama, started once a session, and one whose limits are short."""

from collections.abc import Iterator

import pytest

from tests.fakes.ollama import FakeOllama
from tests.integration.programs import gateway

IMPATIENT = {
    "GATEWAY_EARLY_COMMIT": "0.2",
    "GATEWAY_HEARTBEAT": "0.2",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "0.6",
    "GATEWAY_IDLE_TIMEOUT": "0.6",
}


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        yield server


@pytest.fixture(scope="session")
def url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {
        "GATEWAY_ADMIN_API": "on",
        "GATEWAY_ACCOUNT_API": "on",
        "GATEWAY_WEB_SEARCH": "on",
        "GATEWAY_CORS_ORIGINS": "https://ui.example",
    }
    with gateway(fake.url, tmp_path_factory.mktemp("apis"), **settings) as (_, address):
        yield address


@pytest.fixture(scope="session")
def impatient(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gateway(fake.url, tmp_path_factory.mktemp("impatient"), **IMPATIENT) as (_, address):
        yield address
