"""`gateway pull`: has every model server pull the models, until all have them or a signal arrives."""

import asyncio
import signal

import httpx
import structlog

from ...backends.client import Upstream
from ...backends.discovery import LOOKUP_SECONDS, addresses, is_address, named
from ...servers import Server
from ...settings import Settings
from ...telemetry.logs import configure_structlog
from .pull import Pace, Puller


def run(settings: Settings) -> int:
    """Exit status: 0 if every model is installed on every server, 1 if one was refused."""
    configure_structlog(settings)
    return asyncio.run(until_signal(settings))


async def until_signal(settings: Settings) -> int:
    """The same; SIGTERM and SIGINT end it immediately, with Ollama's download, which can be resumed."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        if task:
            task.cancel()

    # Process 1 of a container ignores signals without a handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    try:
        complete = await pull_everywhere(settings, Pace(settle=settings.manage_timeout))
    except asyncio.CancelledError:
        if not received:
            raise
        structlog.get_logger().info("stopped")
        return 128 + received[0]
    return 0 if complete else 1


async def pull_everywhere(settings: Settings, pace: Pace) -> bool:
    """Whether every server has every model in the end: False if one was refused.

    Each server pulls by itself, so that one that is down keeps no other waiting.
    """
    groups = [Group(settings, server, pace) for server in settings.servers]
    return all(await asyncio.gather(*(group.run() for group in groups)))


class Group:
    """The servers behind one name of the settings: one for each address that the name has."""

    def __init__(self, settings: Settings, server: Server, pace: Pace) -> None:
        self._settings = settings
        self._server = server
        self._pace = pace
        url = httpx.URL(server.url)
        self._host, self._port = url.host, url.port or (443 if url.scheme == "https" else 80)
        # Behind one name may be replicas that share a disk, on which two pulls at once would harm each other.
        self._disk = asyncio.Lock()
        self._names: dict[str, str] = {}

    async def run(self) -> bool:
        """As `pull_everywhere`, for the addresses that the name has in the end."""
        pulls: dict[str, asyncio.Task[bool]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                found = await self._look_up()
                for name in pulls.keys() - found.keys():
                    pulls.pop(name).cancel()
                for name, address in found.items():
                    if name not in pulls:
                        pulls[name] = tasks.create_task(self._pull(name, address))
                if all(pull.done() for pull in pulls.values()):
                    return all(pull.result() for pull in pulls.values())
                await asyncio.wait(pulls.values(), timeout=LOOKUP_SECONDS)

    async def _look_up(self) -> dict[str, str | None]:
        """The servers' names, and the address of each; None if it is found again for each connection."""
        if not is_address(self._host):
            self._names = named(self._names, await addresses(self._host, self._port), self._server.name)
        if len(self._names) < 2:
            return {self._server.name: None}
        return {name: address for address, name in self._names.items()}

    async def _pull(self, name: str, address: str | None) -> bool:
        upstream = Upstream(self._server.url, self._settings.connect_timeout)
        log = structlog.get_logger()
        if address:
            upstream.pin(address)
        if address or len(self._settings.servers) > 1:
            log = log.bind(server=name)
        try:
            refused = await Puller(upstream, self._settings.model_names, self._pace, log, self._disk).run()
        finally:
            await upstream.aclose()
        return not refused
