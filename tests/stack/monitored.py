"""The stack with Prometheus, and traffic of every kind to monitor."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from tests.processes import free_port
from tests.stack.containers import MODEL, Containers, running

PROMETHEUS_IMAGE = "prom/prometheus:v3.5.0"
CLIENTS = 5
# All clients have the same address, so they are one caller. CLIENTS requests fit into slots and
# queue; of a CROWD some are refused.
SLOTS = 2
QUEUE_PER_CALLER = CLIENTS - SLOTS
CROWD = CLIENTS + 3


class Prometheus:
    """A client of Prometheus' HTTP API."""

    def __init__(self, url: str) -> None:
        self._api = f"{url}/api/v1"

    def ask(self, path: str, **parameters: str | float) -> Any:
        answer = httpx.get(f"{self._api}/{path}", params=parameters, timeout=30, trust_env=False)
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]

    def query(self, expr: str) -> list[dict[str, Any]]:
        series: list[dict[str, Any]] = self.ask("query", query=expr)["result"]
        return series

    def query_range(self, expr: str, seconds: float, step: float = 15) -> list[dict[str, Any]]:
        now = time.time()
        series: list[dict[str, Any]] = self.ask(
            "query_range", query=expr, start=now - seconds, end=now, step=step
        )["result"]
        return series


@contextmanager
def monitored() -> Iterator[tuple[Containers, str]]:
    """The stack and the address of its Prometheus. Grafana and nginx's exporter are left out."""
    port = free_port()
    settings = {
        "COMPOSE_PROJECT_NAME": "sluice-test-monitoring",
        "COMPOSE_PROFILES": "embedded,shared",
        "PROMETHEUS_PORT": str(port),
        # So that heartbeats are sent.
        "GATEWAY_HEARTBEAT": "1",
        "GATEWAY_EARLY_COMMIT": "0.2",
        "GATEWAY_SLOTS": str(SLOTS),
        "GATEWAY_QUEUE_PER_CALLER": str(QUEUE_PER_CALLER),
    }
    with running(**settings) as (stack, _):
        stack.compose("--profile", "monitoring", "up", "--detach", "--wait", "--no-deps", "prometheus")
        yield stack, f"http://127.0.0.1:{port}"


async def traffic(stack: Containers, seconds: float) -> None:
    """Sends a crowd of requests, then every kind of request for `seconds`; then kills the model server during
    two answers.
    """
    async with httpx.AsyncClient(base_url=stack.url, timeout=120, trust_env=False) as client:
        await asyncio.gather(*(stream(client) for _ in range(CROWD)))
        until = time.monotonic() + seconds

        async def repeat(kinds: Sequence[Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]]) -> None:
            while time.monotonic() < until:
                for kind in kinds:
                    with suppress(httpx.TransportError):
                        await kind(client)

        # Shifted, so that the clients do different things at the same time.
        kinds = [KINDS[shift:] + KINDS[:shift] for shift in range(CLIENTS)]
        await asyncio.gather(*(repeat(each) for each in kinds))
        last = [asyncio.create_task(stream(client, 2000)) for _ in range(2)]
        await asyncio.sleep(2)
        await asyncio.to_thread(stack.compose, "kill", "engine")
        await asyncio.gather(*last, return_exceptions=True)
        # Compose does not restart a service that was killed on request.
        await asyncio.to_thread(stack.compose, "up", "--detach", "--wait", "engine")
        await asyncio.to_thread(stack.wait_ready)


def question(tokens: int, **more: Any) -> dict[str, Any]:
    content = "Write a very long story about a lighthouse keeper."
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "options": {"num_predict": tokens},
        **more,
    }


async def stream(client: httpx.AsyncClient, tokens: int = 60) -> None:
    async with client.stream("POST", "/chat", json=question(tokens)) as response:
        async for _ in response.aiter_bytes():
            pass


async def whole(client: httpx.AsyncClient) -> None:
    await client.post("/api/chat", json=question(20, stream=False))


async def openai(client: httpx.AsyncClient) -> None:
    body = {"max_tokens": 40, "stream": True, "stream_options": {"include_usage": True}}
    await client.post("/v1/chat/completions", json={**question(0), **body})


async def embed(client: httpx.AsyncClient) -> None:
    await client.post("/api/embed", json={"model": MODEL, "input": "A lighthouse."})


async def leave(client: httpx.AsyncClient) -> None:
    async with client.stream("POST", "/api/chat", json=question(500)) as response:
        async for line in response.aiter_lines():
            if line.strip() and not json.loads(line).get("done"):
                return


async def unload(client: httpx.AsyncClient) -> None:
    """Unloads the model, so that the next request has to load it."""
    await client.post("/api/generate", json={"model": MODEL, "prompt": "", "keep_alive": 0, "stream": False})


async def reload(client: httpx.AsyncClient) -> None:
    """Asks for a context that nobody else asks for, so that the model is loaded anew."""
    await client.post(
        "/api/chat", json=question(0, options={"num_predict": 5, "num_ctx": 1024}, stream=False)
    )


async def no_such_model(client: httpx.AsyncClient) -> None:
    await client.post("/chat", json=question(10, model="nobody-has-it"))


async def nonsense(client: httpx.AsyncClient) -> None:
    await client.post("/chat", content=b"{")


KINDS = [stream, whole, openai, embed, leave, unload, reload, no_such_model, nonsense]
