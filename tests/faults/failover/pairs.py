"""Two model servers behind one gateway."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.ollama import FakeOllama, Received, Step
from tests.integration.apis import Case
from tests.integration.programs import gateway, line_of
from tests.integration.scrapes import value
from tests.processes import Process, wait_until


@dataclass
class Pair:
    """Their gateway: `first` is so much heavier that every conversation is at home there."""

    first: FakeOllama
    second: FakeOllama
    process: Process
    url: str

    def answer(self, case: Case, *, first: tuple[Step, ...] | None = None, status: int = 200) -> None:
        """`first` is how the first server fails; the second one answers."""
        parts = (*case.answer.parts, case.answer.last)
        for server in (self.first, self.second):
            server.loaded = [{"name": "m:latest"}]
        self.first.answer("m", *(parts if first is None else first), status=status)
        self.second.answer("m", *parts)
        self.wait_available("first", "second", model="m")

    def wait_available(self, *names: str, model: str) -> None:
        def has_all() -> bool:
            models = [value(self.url, "gateway_backend_models", backend=name) for name in names]
            return all(models) and all(
                value(self.url, "gateway_backend_available", backend=name) for name in names
            )

        wait_until(has_all, 15, f"{names} have {model}")

    def ask(self, case: Case, request_id: str, **fields: Any) -> httpx.Response:
        return httpx.post(
            f"{self.url}{case.path}",
            json=case.request("m", **fields),
            headers={"X-Request-Id": request_id},
            timeout=30,
        )

    def log_of(self, request_id: str) -> dict[str, Any]:
        return line_of(self.process, request_id)

    def failovers(self, reason: str) -> float:
        return value(self.url, "gateway_failovers_total", **{"from": "first", "reason": reason}) or 0


def asked(server: FakeOllama) -> list[Received]:
    """The requests for answers that a server has got."""
    return [received for received in server.received if b"messages" in received.body or _is_prompt(received)]


def _is_prompt(received: Received) -> bool:
    fields = json.loads(received.body or b"{}")
    return bool(fields.get("prompt") or fields.get("input"))


@contextmanager
def pair(folder: Path, first: FakeOllama, second: FakeOllama, **environment: str) -> Iterator[Pair]:
    urls = f"{first.url} name=first weight=1000, {second.url} name=second weight=0.01"
    with gateway("http://127.0.0.1:9", folder, GATEWAY_OLLAMA_URLS=urls, **environment) as (process, url):
        yield Pair(first, second, process, url)
