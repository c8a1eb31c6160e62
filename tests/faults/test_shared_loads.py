"""A model that several gateways have to have loaded, while gateways and Valkey die."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import DONE
from tests.faults.together import GATEWAYS, Together, together
from tests.integration.queue.queues import until


@contextmanager
def loading(
    folder: Path, seconds: float, failure: str = "", **settings: str
) -> Iterator[tuple[LoadingOllama, Together]]:
    fake = LoadingOllama(seconds, failure)
    fake.answer("m", DONE)
    with fake.running(), together(folder, fake.url, **settings) as gateways:
        yield fake, gateways


async def test_a_model_that_all_ask_for_at_the_same_moment_is_loaded_once(tmp_path: Path) -> None:
    with loading(tmp_path, 2) as (fake, gateways):
        answers = await asyncio.gather(*gateways.ask_all().values())
        assert [answer and answer.status_code for answer in answers] == [200] * GATEWAYS
        assert len(fake.loads) == 1
        # Each knows from the others that it is loaded.
        await asyncio.gather(*gateways.ask_all().values())
        assert len(fake.loads) == 1


async def test_a_load_that_fails_is_not_repeated_by_each(tmp_path: Path) -> None:
    # Two have a slot and wait for the load, the third one waits for a slot.
    with loading(tmp_path, 2, "out of memory", GATEWAY_SLOTS="2") as (fake, gateways):
        answers = await asyncio.gather(*gateways.ask_all().values())
        assert [answer and (answer.status_code, answer.json()) for answer in answers] == [
            (500, {"error": "out of memory"})
        ] * GATEWAYS
        assert len(fake.loads) == 1


async def test_if_the_gateway_that_loads_is_killed_another_one_does(tmp_path: Path) -> None:
    with loading(tmp_path, 6) as (fake, gateways):
        first, *others = gateways.gateways
        asked = {first: asyncio.ensure_future(gateways.ask(first))}
        await until(lambda: fake.begun, "the first one loads")
        asked.update({url: asyncio.ensure_future(gateways.ask(url)) for url in others})
        os.killpg(gateways.gateways[first].popen.pid, signal.SIGKILL)
        assert await asked[first] is None
        answers = await asyncio.gather(*(asked[url] for url in others))
        assert [answer and answer.status_code for answer in answers] == [200] * len(others)
        assert (len(fake.loads), fake.given_up) == (2, ["m"])


async def test_if_valkey_is_killed_nobody_waits_for_it(tmp_path: Path) -> None:
    with loading(tmp_path, 4) as (fake, gateways):
        asked = gateways.ask_all().values()
        await until(lambda: fake.begun, "one loads")
        gateways.server.kill()
        await until(lambda: len(fake.loads) == GATEWAYS, "each loads", 3)
        answers = await asyncio.gather(*asked)
        assert [answer and answer.status_code for answer in answers] == [200] * GATEWAYS
        assert fake.begun == ["m"]
