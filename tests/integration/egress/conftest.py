"""A gateway in front of a fake Ollama that has cloud models; started once a session."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.egress.cloud import CLOUD_HOST
from tests.integration.programs import gateway


@pytest.fixture(scope="session")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        for model in ("own", "harmless", "stub:20b-cloud", "mine:cloud"):
            server.answer(model, DONE)
        server.remote.update({"harmless": CLOUD_HOST, "stub:20b-cloud": CLOUD_HOST})
        server.models = [{"id": model} for model in server.answers]
        yield server


@pytest.fixture(scope="session")
def client(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("egress")
    with (
        gateway(fake.url, folder, GATEWAY_ADMIN_API="on") as (_, url),
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield client
