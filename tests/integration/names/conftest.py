"""A gateway with aliases and keys."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL, AllowList
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import CASES
from tests.integration.names.named import Named
from tests.integration.programs import gateway

ALIASES = (
    "fast=real:1b, gpt-4o-mini=absent:7b|real:1b, openai/gpt-4o = large:70b, lost=absent:7b, "
    "taken=large:70b, stub=harmless"
)


@pytest.fixture(scope="session")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    folder = tmp_path_factory.mktemp("names")
    file = KeyFile(folder / "keys")
    keys = {
        "user": file.create("user", "user", EVERY_MODEL, None),
        "limited": file.create("limited", "user", EVERY_MODEL, None, parse_terms("requests=1k/m")),
        "admin": file.create("admin", "admin", EVERY_MODEL, None),
        "alias": file.create("alias", "user", AllowList(("fast",)), None),
        "target": file.create("target", "user", AllowList(("real:*",)), None),
    }
    fake = FakeOllama()
    for case in CASES:
        fake.answer(case.name, case.answer.whole)
    for model in ("real:1b", "large:70b", "taken:latest", "harmless"):
        fake.answer(model, DONE)
    fake.remote["harmless"] = "https://ollama.com:443"
    fake.models = [{"id": model, "owned_by": "library"} for model in ("real:1b", "large:70b", "taken:latest")]
    settings = {
        "GATEWAY_KEYS_FILE": str(folder / "keys"),
        "GATEWAY_ALIASES": ALIASES,
        "GATEWAY_OPEN_METRICS": "on",
        "GATEWAY_CORS_ORIGINS": "http://page",
    }
    with fake.running(), gateway(fake.url, folder, **settings) as (process, url):
        process.wait_ready(f"{url}/readyz")
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            yield Named(process, url, fake, keys, client)
