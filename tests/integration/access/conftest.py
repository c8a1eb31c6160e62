"""A gateway with a key of every kind, started once a session, because a start takes seconds."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.access.guarded import Guarded
from tests.integration.programs import gateway


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("access")
    file = KeyFile(folder / "keys")
    restricted = AllowList(("llama3*",))
    wrong = file.create("gone", "admin", EVERY_MODEL, None)
    keys = {
        "none": None,
        "wrong": wrong,
        "not a key": "unused",
        "expired": file.create("expired", "admin", EVERY_MODEL, datetime.now(UTC)),
        "user": file.create("user", "user", EVERY_MODEL, None),
        "restricted": file.create("restricted", "user", restricted, None),
        "restricted admin": file.create("restricted-admin", "admin", restricted, None),
        "admin": file.create("admin", "admin", EVERY_MODEL, None),
        "metrics": file.create("metrics", "metrics", EVERY_MODEL, None),
    }
    file.revoke("gone")
    fake = FakeOllama()
    for model in ("llama3:8b", "secret:latest"):
        fake.answer(model, DONE)
    fake.models = [{"id": "llama3:8b"}, {"id": "hf.co/org/llama3"}, {"id": "secret:latest"}]
    fake.recommendations = [{"model": "llama3:8b"}, {"model": "secret"}, {"model": "secret:latest"}]
    fake.loaded = [{"name": "secret:latest"}, {"name": "llama3:8b"}]
    settings = {
        "GATEWAY_KEYS_FILE": str(folder / "keys"),
        "GATEWAY_AUDIT_FILE": str(folder / "audit"),
        "GATEWAY_PUBLIC_ADDRESS": "0.0.0.0",
        "GATEWAY_WORKERS": "2",
        "GATEWAY_PUSH_REGISTRIES": "registry.ollama.ai",
    }
    with fake.running(), gateway(fake.url, folder, **settings) as (process, url):
        guarded = Guarded(url, keys, folder, process, fake)
        with guarded.client:
            yield guarded
    # The log is complete: no request of any test has left a key in it.
    assert not any(key in process.output for key in keys.values() if key and key != "unused")
