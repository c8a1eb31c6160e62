"""Valkey dies or hangs, and what is in it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.kept.elsewhere.stages import (
    HALF,
    REST,
    SETTINGS,
    WHOLE,
    Reader,
    Stage,
    answer_in,
    begun,
    frames,
    stage,
)
from tests.integration.programs import gateway
from tests.integration.queue.queues import until
from tests.integration.resume.gateways import Gateway
from tests.processes import wait_until
from tests.valkey import Server, valkey


@pytest.mark.parametrize("way", ["killed", "silent"])
async def test_without_valkey_it_goes_on_at_home_and_then_everywhere(
    way: str, three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "halts")
    readers = [Reader(client, each.url + path) for each in three.gateways]
    for reader in readers:
        await reader.has(frames(*HALF))
    if way == "killed":
        three.server.kill()
    else:
        three.server.stop()
    assert await until_refused(client, three.others[1].url + "/chat/" + "x" * 24) == "answer_out_of_reach"
    three.fake.go_on()
    assert await readers[0].ends() == WHOLE
    assert answer_in((await client.get(three.home.url + path)).content) == WHOLE
    hearts = readers[1].body.count(b": keep-alive")
    await until(lambda: readers[1].body.count(b": keep-alive") > hearts + 1, "it is told to wait")
    if way == "killed":
        three.server.start()
    else:
        three.server.go_on()
    for reader in readers[1:]:
        assert await reader.ends() == WHOLE
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == WHOLE


async def until_refused(client: httpx.AsyncClient, url: str) -> str:
    """The code of a refusal with status 503, with which an answer that is unknown is not refused at first."""
    async with asyncio.timeout(20):
        while (refused := await client.get(url)).status_code != 503:
            assert refused.status_code == 404
            await asyncio.sleep(0.01)
    assert refused.headers["retry-after"]
    return str(refused.json()["error"]["code"])


async def test_one_begun_without_valkey_is_found_once_it_is_there(
    three: Stage, client: httpx.AsyncClient
) -> None:
    three.server.kill()
    await until_refused(client, three.home.url + "/chat/" + "x" * 24)
    path = await begun(client, three.home, "halts")
    assert (await client.get(three.others[0].url + path)).status_code == 503
    three.server.start()
    wait_until(lambda: httpx.head(three.others[0].url + path).status_code == 200, 20, "it is found")
    reader = Reader(client, three.others[0].url + path)
    await reader.has(frames(*HALF))
    three.fake.go_on()
    assert await reader.ends() == WHOLE


async def test_no_more_than_sixteen_read_one_answer_at_a_gateway(
    three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "halts")
    async with AsyncExitStack() as stack:
        for _ in range(16):
            await stack.enter_async_context(client.stream("GET", three.others[0].url + path))
        refused = await client.get(three.others[0].url + path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_readers")
        three.fake.go_on()
        assert await Reader(client, three.others[1].url + path).ends() == WHOLE


async def test_workers_of_one_gateway_read_each_others_answers(tmp_path: Path) -> None:
    with FakeOllama().running() as fake, valkey(tmp_path) as server:
        fake.answer("short", *HALF, *REST)
        shared = {"GATEWAY_WORKERS": "3", "GATEWAY_SHARED_URL": server.url, **SETTINGS}
        with gateway(fake.url, tmp_path, **shared) as (process, url):
            for _ in range(30):  # each over a connection of its own, which any worker may accept
                async with httpx.AsyncClient(timeout=30) as client:
                    path = await begun(client, Gateway(process, url), "short")
                async with httpx.AsyncClient(timeout=30) as client:
                    assert await Reader(client, url + path).ends() == WHOLE
            assert "cannot outlive" not in process.output


async def test_everything_in_valkey_ends_by_itself(tmp_path: Path) -> None:
    with stage(tmp_path, GATEWAY_RESUME_KEEP="2") as three:
        async with httpx.AsyncClient(timeout=30) as client:
            kept = [await begun(client, three.home, model) for model in ("short", "hangs", "silent")]
            for path in kept:
                reader = Reader(client, three.others[0].url + path)
                await until(lambda reader=reader: reader.body, "it is read")  # type: ignore[misc]
            keys = answers_in(three.server)
            assert len(keys) == 2 * len(kept)
            assert all(0 < three.server.command("PTTL", key) < 60_000 for key in keys)
            for path in kept[1:]:
                await client.delete(three.home.url + path)
            await until(lambda: not answers_in(three.server), "nothing is left", 30)


def answers_in(server: Server) -> list[str]:
    found: list[bytes] = server.command("KEYS", "sluice:answer:*")
    return [key.decode() for key in found]
