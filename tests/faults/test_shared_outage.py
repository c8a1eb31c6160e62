"""Gateways whose Valkey is gone for a while, under load."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway
from tests.integration.queue.queues import until
from tests.processes import wait_until
from tests.valkey import Server, valkey

STREAMS = 200
OUTAGE_SECONDS = 20
# Slow tokens, over the whole outage.
TOKENS = 60
PAUSE = 0.5
LONG = [step for number in range(TOKENS) for step in (line(f"{number} "), PAUSE)]
SETTINGS = {
    "GATEWAY_SLOTS": "1000",
    "GATEWAY_LIMIT_CONCURRENT": "1000",
    "GATEWAY_CONNECT_TIMEOUT": "20",  # all connect to the model server at once
}


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("long", *LONG, DONE)
        server.answer("short", line("hello"), DONE)
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path) as started:
        yield started


@pytest.mark.timeout(300)
async def test_no_stream_and_no_request_fails_while_valkey_is_gone(
    fake: FakeOllama, server: Server, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        urls = [
            stack.enter_context(gateway(fake.url, tmp_path, GATEWAY_SHARED_URL=server.url, **SETTINGS))[1]
            for _ in range(2)
        ]
        await asyncio.to_thread(_wait_connected, urls)
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=None)) as http:

            async def ask(url: str, model: str) -> str:
                question = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
                answer = await http.post(f"{url}/chat", json=question)
                assert answer.status_code == 200, answer.text
                return answer.text

            streams = [asyncio.create_task(ask(url, "long")) for url in urls * (STREAMS // 2)]
            await until(lambda: fake.answering == STREAMS, "all streams run")
            began = asyncio.get_running_loop().time()
            server.kill()
            asked = 0
            for url in itertools.cycle(urls):
                answer = await asyncio.wait_for(ask(url, "short"), 10)
                assert answer.count('"content":"hello"') == 1
                asked += 1
                if asyncio.get_running_loop().time() > began + OUTAGE_SECONDS:
                    break
            assert asked > OUTAGE_SECONDS
            server.start()
            await asyncio.to_thread(_wait_connected, urls)
            assert not any(stream.done() for stream in streams)
            for answer in await asyncio.gather(*streams):
                assert "error" not in answer
                assert [answer.count(f'"content":"{number} "') for number in range(TOKENS)] == [1] * TOKENS
                assert answer.count('"done":true') == 1


def _wait_connected(urls: list[str]) -> None:
    def are_connected() -> bool:
        return not any("shared" in httpx.get(f"{url}/readyz").json() for url in urls)

    wait_until(are_connected, 30, "all gateways are connected to Valkey")
