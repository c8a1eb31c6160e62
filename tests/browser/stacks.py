"""nginx and gateway in front of a scripted model server, as the tests in a browser need them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.roles import Role
from gateway.access.terms import parse_terms
from tests.fakes.ollama import FakeOllama
from tests.integration.programs import gateway, nginx
from tests.processes import wait_until

# By the name of the key: its role and its limits.
KEYS: dict[str, tuple[Role, str]] = {
    "alice": ("user", "-"),
    "bob": ("user", "-"),
    "admin": ("admin", "-"),
    "once": ("user", "requests=1/m"),
    "once-for-node": ("user", "requests=1/m"),
    "counted": ("user", "requests=50/m"),
}
# Short, so that a stream shows soon that it waits; bodies as large as conversations become.
PROMPT = {"GATEWAY_EARLY_COMMIT": "0.2", "GATEWAY_HEARTBEAT": "0.5", "GATEWAY_MAX_BODY_BYTES": "10485760"}


SERVER = "workhorse"


@dataclass
class Scripted:
    url: str
    gateway_url: str
    fake: FakeOllama
    keys: dict[str, str] = field(default_factory=dict)

    def running(self) -> list[dict[str, Any]]:
        """The requests that have a slot."""
        return self._turns("running")

    def waiting(self) -> list[dict[str, Any]]:
        return self._turns("waiting")

    def _turns(self, state: str) -> list[dict[str, Any]]:
        key = self.keys.get("admin")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = httpx.get(f"{self.gateway_url}/queue", headers=headers, timeout=30)
        turns: list[dict[str, Any]] = answer.json()[state]
        return turns

    def is_idle(self) -> bool:
        return not self.fake.answering and not self.running() and not self.waiting()


@contextmanager
def scripted(fake: FakeOllama, folder: Path, **environment: str) -> Iterator[Scripted]:
    fake.gets["/api/ps"] = {"models": fake.loaded}
    with ExitStack() as running:
        running.enter_context(fake.running())
        settings = {**PROMPT, "GATEWAY_OLLAMA_URLS": f"{fake.url} name={SERVER}", **environment}
        _, url = running.enter_context(gateway(fake.url, folder, **settings))
        _, edge = running.enter_context(nginx(urlsplit(url).port or 0, settings=settings))
        stack = Scripted(edge, url, fake)
        yield stack
        wait_until(stack.is_idle, 20, "no test has left a request behind")


@contextmanager
def keyed(fake: FakeOllama, folder: Path) -> Iterator[Scripted]:
    file = KeyFile(folder / "keys")
    keys = {
        name: file.create(name, role, EVERY_MODEL, None, parse_terms(limits))
        for name, (role, limits) in KEYS.items()
    }
    with scripted(fake, folder, GATEWAY_KEYS_FILE=str(folder / "keys"), GATEWAY_ADMIN_API="on") as stack:
        stack.keys = keys
        yield stack
