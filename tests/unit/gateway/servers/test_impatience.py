"""A server that answers polls but no requests gets no more of them, however impatient their clients are."""

import asyncio

import httpx
import pytest

from gateway.backends import silence
from tests.fakes.ollama import DONE, Answer, Do, FakeOllama
from tests.unit.gateway.in_process import running

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PATIENCE = 0.3


async def loaded(client: httpx.AsyncClient, name: str, count: int) -> None:
    """Waits until the gateway knows how many models are in memory at a server."""
    text = f'gateway_backend_models_loaded{{backend="{name}"}} {count}.0'
    async with asyncio.timeout(20):
        while text not in (await client.get("/metrics")).text:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


async def is_answered(client: httpx.AsyncClient) -> bool:
    try:
        answer = await asyncio.wait_for(client.post("/chat", json=QUESTION), PATIENCE)
    except TimeoutError:
        return False
    return answer.status_code == 200


@pytest.mark.usefixtures("logging_as_before")
async def test_whoever_tries_again_is_answered_by_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS", 3 * PATIENCE)
    monkeypatch.setattr(silence, "TOKEN_SECONDS", 0)
    with FakeOllama().running() as first, FakeOllama().running() as second:
        for fake, answer in ((first, Do.HANG), (second, DONE)):
            fake.answer("m", answer)
            fake.loaded = [{"name": "m:latest"}]
        second.answer("other", DONE)
        urls = f"{first.url} name=first weight=1000, {second.url} name=second weight=0.01"
        async with running(first.url, ollama_urls=urls) as url, httpx.AsyncClient(base_url=url) as client:
            await loaded(client, "first", 1)
            await loaded(client, "second", 1)
            async with asyncio.timeout(20):
                while not await is_answered(client):
                    await client.post("/chat", json={**QUESTION, "model": "other"})
            first.answer("m", DONE)
            async with asyncio.timeout(30):
                asked = len(first.received)
                while len(first.received) == asked:
                    assert await is_answered(client)
                    await asyncio.sleep(0.1)


@pytest.mark.usefixtures("logging_as_before")
async def test_loads_that_fail_count_as_failures_of_their_server() -> None:
    with FakeOllama().running() as first, FakeOllama().running() as second:
        for fake in (first, second):
            fake.answer("m", DONE)
            fake.answer("n", DONE)
        first.loading = Answer([b'{"error":"the GPU is broken"}'], 500)
        second.loading = Answer([b'{"error":"out of memory"}'], 500)
        urls = f"{first.url} name=first weight=1000, {second.url} name=second weight=0.01"
        async with running(first.url, ollama_urls=urls) as url, httpx.AsyncClient(base_url=url) as client:
            text = ""
            async with asyncio.timeout(20):
                while 'gateway_backend_available{backend="first"} 0.0' not in text:
                    await client.post("/chat", json=QUESTION)
                    text = (await client.get("/metrics")).text
            assert 'gateway_backend_up{backend="first"} 1.0' in text
