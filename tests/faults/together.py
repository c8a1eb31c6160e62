"""Several gateways around one Valkey, in front of one model server."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration.programs import SERVE
from tests.integration.scrapes import value
from tests.processes import Process, free_port, wait_until
from tests.valkey import Server, valkey

GATEWAYS = 3


@dataclass
class Together:
    """`gateways` by their URLs."""

    server: Server
    gateways: dict[str, Process]

    async def ask(self, url: str, model: str = "m") -> httpx.Response | None:
        """None if the gateway dies."""
        question = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": False}
        async with httpx.AsyncClient(timeout=60) as client:
            try:
                return await client.post(f"{url}/api/chat", json=question)
            except httpx.TransportError:
                return None

    def ask_all(self) -> dict[str, "asyncio.Task[httpx.Response | None]"]:
        return {url: asyncio.ensure_future(self.ask(url)) for url in self.gateways}


@contextmanager
def together(folder: Path, upstream: str, **settings: str) -> Iterator[Together]:
    """Each knows the others."""
    with ExitStack() as stack:
        server = stack.enter_context(valkey(folder))
        settings |= {"GATEWAY_OLLAMA_URL": upstream, "GATEWAY_SHARED_URL": server.url}
        gateways = {}
        for number in range(GATEWAYS):
            port = free_port()
            process = Process([*SERVE], {**settings, "GATEWAY_PORT": str(port)}, folder / f"{number}.log")
            stack.callback(process.stop)
            gateways[f"http://127.0.0.1:{port}"] = process
        for url, process in gateways.items():
            process.wait_ready(f"{url}/readyz")
        wait_until(
            lambda: all(value(url, "gateway_shared_gateways") == GATEWAYS for url in gateways),
            20,
            "all are there",
        )
        yield Together(server, gateways)
