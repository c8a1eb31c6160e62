"""Three embedded engines, each behind a proxy, and one gateway and nginx in front of them."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.integration.programs import gateway, nginx
from tests.load.servers.proxy import Proxy
from tests.processes import BIN, Process, free_port

SERVERS = 3
SLOTS = 4
SETTINGS = {
    "GATEWAY_QUEUE": "10000",
    "GATEWAY_QUEUE_PER_CALLER": "10000",
    "GATEWAY_QUEUE_TIMEOUT": "600",
    "GATEWAY_MAX_BODY_BYTES": "1000000",
}


class Member:
    """One engine and its proxy."""

    def __init__(self, name: str, folder: Path, slots: int) -> None:
        self.name = name
        self._slots = slots
        self._folder = folder
        self.port = free_port()
        self._starts = 0
        self.proxy = Proxy(self.port, free_port())
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
        self._starts += 1
        log = self._folder / f"{self.name}-{self._starts}.log"
        environment = {"ENGINE_PORT": str(self.port), "ENGINE_SLOTS": str(self._slots), "ENGINE_THREADS": "1"}
        self._process = Process([str(BIN / "engine"), "serve"], environment, log)
        self._process.wait_ready(f"http://127.0.0.1:{self.port}/api/tags", 120)

    def kill(self) -> None:
        """The engine and llama.cpp, its child process."""
        self.signal(signal.SIGKILL)
        self._process.popen.wait(30)

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.popen.pid, number)

    def stop(self) -> None:
        if self._process.popen.poll() is None:
            self.signal(signal.SIGCONT)
        self._process.stop()

    def seconds_until_asked(self, since: float) -> float | None:
        """Until the first request for an answer that came after a time of the monotonic clock."""
        return next((at - since for at in self.proxy.asked if at >= since), None)


@dataclass
class Stack:
    """`url` is that of nginx."""

    members: list[Member]
    url: str
    gateway_url: str
    process: Process


@contextmanager
def engines(folder: Path, slots: int = SLOTS) -> Iterator[list[Member]]:
    with ExitStack() as stack:
        members = []
        for number in range(1, SERVERS + 1):
            member = Member(f"engine{number}", folder, slots)
            stack.callback(member.stop)
            stack.enter_context(member.proxy.serving())
            members.append(member)
        yield members


@contextmanager
def in_front_of(members: list[Member], folder: Path, **environment: str) -> Iterator[Stack]:
    urls = ", ".join(f"{member.proxy.url} name={member.name}" for member in members)
    settings = {"GATEWAY_OLLAMA_URLS": urls, **SETTINGS, **environment}
    with (
        gateway("http://127.0.0.1:9", folder, **settings) as (process, url),
        nginx(urlsplit(url).port or 0) as (_, edge),
    ):
        yield Stack(members, edge, url, process)
