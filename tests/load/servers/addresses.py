"""A name that has one address, then three, then one again, while clients ask."""

import asyncio
import socket
import time
from contextlib import ExitStack
from typing import Any

from tests.load.servers.clients import Report, asking
from tests.load.servers.fleet import Member
from tests.load.servers.proxy import Proxy
from tests.processes import free_port
from tests.unit.gateway.in_process import running

NAME = "models"
CLIENTS = 20
STEP_SECONDS = 20
# Two lookups.
NOTICED_SECONDS = 10


class Resolver:
    """Answers for NAME with its `addresses`, instead of the system's resolver."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses
        self._loop = asyncio.get_running_loop()
        self._others = self._loop.getaddrinfo
        self._loop.getaddrinfo = self._look_up  # type: ignore[method-assign]

    async def _look_up(self, host: Any, port: Any, **options: Any) -> Any:
        if host != NAME:
            return await self._others(host, port, **options)
        kind = options.get("type") or socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in self.addresses]


async def change(members: list[Member]) -> tuple[Report, list[str]]:
    """What the clients saw, and what was wrong with where their requests went."""
    port = free_port()
    hosts = [f"127.0.0.{number}" for number in range(2, len(members) + 2)]
    wrong = []
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(Proxy(member.port, port, host).serving())
            for member, host in zip(members, hosts, strict=True)
        ]
        resolver = Resolver(hosts[:1])
        limits = {"queue": 1000, "queue_per_caller": 1000}
        async with (
            running("http://127.0.0.1:9", ollama_urls=f"http://{NAME}:{port}", **limits) as url,
            asking(url, CLIENTS) as report,
        ):
            for addresses in (hosts[:1], hosts, hosts[-1:]):
                resolver.addresses = addresses
                await asyncio.sleep(NOTICED_SECONDS)
                noticed_at = time.monotonic()
                await asyncio.sleep(STEP_SECONDS - NOTICED_SECONDS)
                asked = [
                    host
                    for host, proxy in zip(hosts, proxies, strict=True)
                    if any(at > noticed_at for at in proxy.asked)
                ]
                if asked != addresses:
                    wrong.append(f"{asked} were asked instead of {addresses}")
    return report, wrong
