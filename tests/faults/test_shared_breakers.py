"""A model server that fails at one of several gateways."""

from pathlib import Path

import httpx

from gateway.backends.breaker import FAILURES
from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.faults.together import Together, together
from tests.integration.queue.queues import until


def breakers(gateways: Together) -> list[str]:
    shown = [httpx.get(f"{url}/servers", timeout=30).json()["servers"] for url in gateways.gateways]
    return [server["breaker"] for (server,) in shown]


async def test_its_breaker_opens_and_closes_at_all_of_them(tmp_path: Path) -> None:
    fake = FakeOllama()
    fake.answer("bad", Do.DROP)
    fake.answer("m", DONE)
    with fake.running(), together(tmp_path, fake.url, GATEWAY_ADMIN_API="on") as gateways:
        one, other, _ = gateways.gateways
        for _ in range(FAILURES):
            failed = await gateways.ask(one, "bad")
            assert failed
            assert failed.status_code == 502
        await until(lambda: "closed" not in breakers(gateways), "it is open at all of them")
        answered = await gateways.ask(other)
        assert answered
        assert answered.status_code == 200
        await until(lambda: set(breakers(gateways)) == {"closed"}, "it is closed at all of them")
