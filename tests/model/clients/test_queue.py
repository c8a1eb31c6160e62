"""The official clients in front of a full queue, and while they wait in it."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator

import anthropic
import httpx
import ollama
import openai
import pytest
import pytest_asyncio

from tests.fakes.ollama import Do
from tests.integration.apis import CASES, CHAT, USER, Case
from tests.integration.programs import LIMITS, nginx
from tests.integration.queue.queues import Queue, Served, served, until

API_CHAT, OPENAI, ANTHROPIC = CASES[1], CASES[3], CASES[6]
FULL = {"GATEWAY_SLOTS": "1", "GATEWAY_QUEUE": "1"}
# Shorter than the wait, longer than the pause between heartbeats.
PATIENCE = 2
# What the gateway logs for a full queue.
CODES = '"outcome": "rejected"'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("clients"), FULL, {}) as running:
        yield running


@pytest_asyncio.fixture
async def queue(gateway: Served) -> AsyncIterator[Queue]:
    async with gateway.queue() as new:
        yield new


async def fill(queue: Queue, case: Case) -> None:
    """Take the slot and the only place in the queue."""
    queue.fake.answer("m", Do.WAIT, *case.answer.parts, case.answer.last)
    await queue.runs(case)
    await queue.waits(case)


async def empty_after_a_refusal(queue: Queue) -> None:
    """Empty slot and queue when the next request has been refused."""
    process = queue.served.process
    before = process.output.count(CODES)
    await until(lambda: process.output.count(CODES) > before, "a request is refused")
    queue.fake.go_on()


async def test_openais_client_waits_and_tries_again_by_itself(queue: Queue) -> None:
    await fill(queue, OPENAI)
    async with (
        asyncio.timeout(60),
        openai.AsyncOpenAI(base_url=f"{queue.served.url}/v1", api_key="any", max_retries=5) as client,
    ):
        emptied = asyncio.create_task(empty_after_a_refusal(queue))
        async with client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            answer = await stream.get_final_completion()
        await emptied
    assert (answer.choices[0].message.content or "").startswith("Hello")


async def test_anthropics_client_waits_and_tries_again_by_itself(queue: Queue) -> None:
    await fill(queue, ANTHROPIC)
    async with (
        asyncio.timeout(60),
        anthropic.AsyncAnthropic(base_url=queue.served.url, api_key="any", max_retries=5) as client,
    ):
        emptied = asyncio.create_task(empty_after_a_refusal(queue))
        answer = client.messages.create(
            model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=5, stream=True
        )
        kinds = [event.type async for event in await answer]
        await emptied
    assert kinds[-1] == "message_stop"


async def test_each_client_raises_its_own_error_for_a_full_queue(queue: Queue) -> None:
    await fill(queue, CHAT)
    words = "server busy, please try again: the queue is full, 1 waiting"
    url = queue.served.url
    async with ollama.AsyncClient(url) as to_ollama:
        with pytest.raises(ollama.ResponseError, match=words) as by_ollama:
            await to_ollama.chat("m", [USER])
    assert by_ollama.value.status_code == 503
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as to_openai:
        with pytest.raises(openai.InternalServerError, match=words) as by_openai:
            await to_openai.completions.create(model="m", prompt="hi")
    assert by_openai.value.status_code == 503
    async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as to_anthropic:
        with pytest.raises(anthropic.InternalServerError, match=words) as by_anthropic:
            await to_anthropic.messages.create(
                model="m", messages=[{"role": "user", "content": "hi"}], max_tokens=5
            )
    assert by_anthropic.value.status_code == 529


async def test_curl_shows_the_position(queue: Queue) -> None:
    queue.answer(CHAT)
    holder = await queue.runs(CHAT)
    body = json.dumps(CHAT.request("m"))
    command = [
        "curl",
        "--silent",
        "--no-buffer",
        "--max-time",
        "30",
        f"{queue.served.url}/chat",
        "--data",
        body,
    ]
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert curl.stdout
    while b"status" not in (shown := await curl.stdout.readuntil(b"\n\n")):
        assert shown == b": keep-alive\n\n"
    await holder.leave()
    queue.fake.go_on()
    rest = await curl.stdout.read()
    assert await curl.wait() == 0
    expected = rb'event: status\ndata: {"state": "queued", "position": 1, "of": 1, "eta_seconds": \d+}\n\n'
    assert re.fullmatch(expected, shown)
    assert CHAT.terminals(rest) == 1


WAYS = [case for case in CASES if case in (CHAT, API_CHAT, OPENAI, ANTHROPIC)]


@pytest.mark.parametrize("case", WAYS, ids=lambda case: case.name)
async def test_a_stream_outlasts_read_timeouts_that_are_shorter_than_its_wait(
    queue: Queue, case: Case, impatient_edge: str
) -> None:
    """Both its client's and nginx's."""
    queue.answer(case)
    holder = await queue.runs(case)
    began = time.monotonic()
    async with (
        httpx.AsyncClient(base_url=impatient_edge, timeout=PATIENCE) as http,
        http.stream("POST", case.path, json=case.request("m")) as response,
    ):
        pieces = response.aiter_raw()
        body = b""
        while time.monotonic() - began < 2.5 * PATIENCE:
            body += await anext(pieces)
        assert case.terminals(body) == 0
        await holder.leave()
        queue.fake.go_on()
        async for piece in pieces:
            body += piece
    assert response.status_code == 200
    assert case.terminals(body) == 1
    assert not case.tells_an_error(body)


@pytest.fixture(scope="module")
def impatient_edge(gateway: Served) -> Iterator[str]:
    """An nginx that waits for the gateway no longer than the clients of these tests."""
    port = int(gateway.url.rpartition(":")[2])
    shorter = "proxy_read_timeout 3610s;", f"proxy_read_timeout {PATIENCE}s;"
    with nginx(port, shorter, file="conf.d/gateway.conf", settings=LIMITS) as (_, url):
        yield url
