"""A model that several gateways have to have loaded, while gateways and Valkey die."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import DONE
from tests.integration.programs import SERVE
from tests.integration.queue.queues import until
from tests.integration.scrapes import value
from tests.processes import Process, free_port, wait_until
from tests.valkey import Server, valkey

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
GATEWAYS = 3


@dataclass
class Together:
    fake: LoadingOllama
    server: Server
    gateways: dict[str, Process]

    async def ask(self, url: str) -> httpx.Response | None:
        """None if the gateway dies."""
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                return await client.post(f"{url}/api/chat", json=QUESTION)
            except httpx.TransportError:
                return None

    def ask_all(self) -> dict[str, "asyncio.Task[httpx.Response | None]"]:
        return {url: asyncio.ensure_future(self.ask(url)) for url in self.gateways}


@contextmanager
def together(folder: Path, seconds: float, failure: str = "", **settings: str) -> Iterator[Together]:
    fake = LoadingOllama(seconds, failure)
    fake.answer("m", DONE)
    with ExitStack() as stack:
        stack.enter_context(fake.running())
        server = stack.enter_context(valkey(folder))
        settings = {"GATEWAY_OLLAMA_URL": fake.url, "GATEWAY_SHARED_URL": server.url, **settings}
        gateways = {}
        for number in range(GATEWAYS):
            port = free_port()
            settings["GATEWAY_PORT"] = str(port)
            process = Process([*SERVE], settings, folder / f"gateway-{number}.log")
            stack.callback(process.stop)
            gateways[f"http://127.0.0.1:{port}"] = process
        for url, process in gateways.items():
            process.wait_ready(f"{url}/readyz")
        for url in gateways:
            known = lambda url=url: value(url, "gateway_shared_gateways") == GATEWAYS  # noqa: E731
            wait_until(known, 20, "it knows the others")
        yield Together(fake, server, gateways)


async def test_a_model_that_all_ask_for_at_the_same_moment_is_loaded_once(tmp_path: Path) -> None:
    with together(tmp_path, 2) as gateways:
        answers = await asyncio.gather(*gateways.ask_all().values())
        assert [answer and answer.status_code for answer in answers] == [200] * GATEWAYS
        assert len(gateways.fake.loads) == 1
        # Each knows from the others that it is loaded.
        await asyncio.gather(*gateways.ask_all().values())
        assert len(gateways.fake.loads) == 1


async def test_a_load_that_fails_is_not_repeated_by_each(tmp_path: Path) -> None:
    # Two have a slot and wait for the load, the third one waits for a slot.
    with together(tmp_path, 2, "out of memory", GATEWAY_SLOTS="2") as gateways:
        answers = await asyncio.gather(*gateways.ask_all().values())
        assert [answer and (answer.status_code, answer.json()) for answer in answers] == [
            (500, {"error": "out of memory"})
        ] * GATEWAYS
        assert len(gateways.fake.loads) == 1


async def test_if_the_gateway_that_loads_is_killed_another_one_does(tmp_path: Path) -> None:
    with together(tmp_path, 6) as gateways:
        first, *others = gateways.gateways
        asked = {first: asyncio.ensure_future(gateways.ask(first))}
        await until(lambda: gateways.fake.begun, "the first one loads")
        asked.update({url: asyncio.ensure_future(gateways.ask(url)) for url in others})
        os.killpg(gateways.gateways[first].popen.pid, signal.SIGKILL)
        assert await asked[first] is None
        answers = await asyncio.gather(*(asked[url] for url in others))
        assert [answer and answer.status_code for answer in answers] == [200] * len(others)
        assert (len(gateways.fake.loads), gateways.fake.given_up) == (2, ["m"])


async def test_if_valkey_is_killed_nobody_waits_for_it(tmp_path: Path) -> None:
    with together(tmp_path, 4) as gateways:
        asked = gateways.ask_all().values()
        await until(lambda: gateways.fake.begun, "one loads")
        gateways.server.kill()
        await until(lambda: len(gateways.fake.loads) == GATEWAYS, "each loads", 3)
        answers = await asyncio.gather(*asked)
        assert [answer and answer.status_code for answer in answers] == [200] * GATEWAYS
        assert gateways.fake.begun == ["m"]
