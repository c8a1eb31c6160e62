"""The turns as `/queue` shows them."""

import asyncio

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.integration.queue.queues import until
from tests.unit.gateway.in_process import running


@pytest.mark.usefixtures("logging_as_before")
async def test_a_single_gateway_shows_those_that_wait_in_the_order_of_their_turns() -> None:
    """Whatever their models: a place in the queue is one among those for the same model."""
    with FakeOllama().running() as fake:
        for model in ("one", "two"):
            fake.answer(model, Do.WAIT, DONE)
        fake.pause()
        async with (
            running(fake.url, slots=1, ollama_max_loaded_models=1, swap_patience=1000) as url,
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):

            def ask(model: str) -> "asyncio.Task[httpx.Response]":
                question = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
                return asyncio.ensure_future(client.post("/chat", json=question))

            asked = [ask("one")]
            await until(lambda: fake.answering, "it runs")
            for model in ("one", "one", "two"):
                asked.append(ask(model))
                await waiting(client, len(asked) - 1)
            assert [row["model"] for row in await waiting(client, 3)] == [
                "one:latest",
                "one:latest",
                "two:latest",
            ]
            fake.go_on()
            assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 4


async def waiting(client: httpx.AsyncClient, count: int) -> list[dict[str, str]]:
    """Those that wait, once there are so many."""
    async with asyncio.timeout(20):
        while len(rows := (await client.get("/queue")).json()["waiting"]) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return list(rows)
