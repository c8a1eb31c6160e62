"""One edge for the tests of limits."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.fakes.ollama import Do, FakeOllama, line
from tests.integration.apis import CASES
from tests.integration.limits.edge import KEYS_OF_EACH, TERMS, Edge
from tests.integration.programs import gateway, nginx
from tests.model.clients.answers import MESSAGE


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("limits")
    file, keys = KeyFile(folder / "keys"), defaultdict(list)
    for terms in TERMS:
        for number in range(KEYS_OF_EACH):
            name = f"{re.sub('[^a-z0-9]', '-', terms)}{number}".strip("-")
            keys[terms].append(file.create(f"k{name}", "user", EVERY_MODEL, None, parse_terms(terms)))
    fake = FakeOllama()
    for case in CASES:
        fake.answer(case.name, case.answer.whole)
    fake.answer("message", *MESSAGE)
    fake.answer("hangs", *[line()] * 5, Do.HANG)
    settings = {"GATEWAY_KEYS_FILE": str(folder / "keys"), "GATEWAY_CORS_ORIGINS": "http://page"}
    settings["GATEWAY_OPEN_METRICS"] = "on"
    with ExitStack() as stack:
        stack.enter_context(fake.running())
        process, url = stack.enter_context(gateway(fake.url, folder, **settings))
        process.wait_ready(f"{url}/readyz")
        _, outside = stack.enter_context(nginx(urlsplit(url).port or 0))
        client = stack.enter_context(httpx.Client(base_url=outside, timeout=30))
        yield Edge(outside, url, process, fake, keys, client)
