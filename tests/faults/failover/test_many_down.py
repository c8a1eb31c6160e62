"""Servers that have just been lost cost a request time, not its answer."""

from contextlib import ExitStack
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.processes import wait_until

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_however_many_cannot_be_reached_another_one_answers(tmp_path: Path) -> None:
    fakes = [FakeOllama() for _ in range(6)]
    with ExitStack() as stack:
        for fake in fakes:
            stack.enter_context(fake.running())
            fake.answer("m", line(), DONE)
            fake.loaded = [{"name": "m:latest"}]
        # The last one is asked last.
        weights = [1000, 1000, 1000, 1000, 1000, 0.01]
        servers = zip(fakes, weights, strict=True)
        urls = ",".join(f"{fake.url} name=s{at} weight={weight}" for at, (fake, weight) in enumerate(servers))
        _, url = stack.enter_context(gateway("http://unused", tmp_path, GATEWAY_OLLAMA_URLS=urls))

        def is_known() -> bool:
            return all(value(url, "gateway_backend_models_loaded", backend=f"s{at}") for at in range(6))

        wait_until(is_known, 30, "all have the model")
        for fake in fakes[:-1]:
            fake.close()
        assert httpx.post(f"{url}/api/chat", json=CHAT, timeout=30).status_code == 200
