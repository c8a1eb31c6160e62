"""One limit at several gateways that share what they count."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.terms import parse_terms
from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.processes import wait_until
from tests.valkey import Server, valkey

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Together:
    urls: list[str]
    key: str
    server: Server

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def limit(self, url: str) -> dict[str, Any]:
        """What /usage says of the key's only limit."""
        usage = httpx.get(f"{url}/usage", headers=self.headers).json()
        (window,) = usage["limits"]["requests"]
        return {**window, "in_flight": usage["in_flight"]}


@pytest.fixture
def together(tmp_path: Path) -> Iterator[Together]:
    fake = FakeOllama()
    fake.answer("m", line(), DONE)
    key = KeyFile(tmp_path / "keys").create("alice", "user", EVERY_MODEL, None, parse_terms("requests=20/h"))
    with ExitStack() as stack:
        stack.enter_context(fake.running())
        server = stack.enter_context(valkey(tmp_path))
        settings = {
            "GATEWAY_KEYS_FILE": str(tmp_path / "keys"),
            "GATEWAY_OPEN_METRICS": "on",
            "GATEWAY_SHARED_URL": server.url,
        }
        started = [stack.enter_context(gateway(fake.url, tmp_path, **settings)) for _ in range(2)]
        for process, url in started:
            process.wait_ready(f"{url}/readyz")
        urls = [url for _, url in started]
        wait_until(
            lambda: all(value(url, "gateway_shared_gateways") == 2 for url in urls), 20, "both know it"
        )
        yield Together(urls, key, server)


async def test_together_gateways_allow_exactly_what_one_would(together: Together) -> None:
    async with httpx.AsyncClient(headers=together.headers, timeout=60) as client:
        answers = await asyncio.gather(
            *(client.post(f"{url}/api/chat", json=QUESTION) for url in together.urls for _ in range(30))
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (20, 40)
    assert {answer.headers["x-ratelimit-limit-requests"] for answer in answers} == {"20"}
    for url in together.urls:
        wait_until(lambda url=url: together.limit(url)["in_flight"] == 0, 5, "all have left")  # type: ignore[misc]
        assert together.limit(url)["used"] == 20


async def test_without_what_they_share_each_enforces_and_shows_its_share(together: Together) -> None:
    one = together.urls[0]
    together.server.kill()
    wait_until(lambda: together.limit(one)["limit"] == 10, 20, "the share applies")
    async with httpx.AsyncClient(headers=together.headers, timeout=60) as client:
        answers = [await client.post(f"{one}/api/chat", json=QUESTION) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    together.server.start()
    wait_until(lambda: together.limit(one)["limit"] == 20, 20, "the whole limit applies again")
