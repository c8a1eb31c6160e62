"""nginx in front of a gateway with keys that have limits."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fakes.ollama import FakeOllama
from tests.integration.apis import CHAT, Case
from tests.processes import Process, wait_until

TERMS = ("requests=1/m", "requests=1/s", "tokens=20/m", "tokens=1M/d", "concurrent=1", "requests=60/m", "-")
KEYS_OF_EACH = 20


@dataclass
class Edge:
    """nginx in front of a gateway with keys, of which each test takes a fresh one."""

    url: str
    gateway: str
    process: Process
    fake: FakeOllama
    keys: dict[str, list[str]]
    client: httpx.Client

    def key(self, terms: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[terms].pop()}"}

    def ask(self, key: dict[str, str], case: Case = CHAT, model: str = "", **fields: Any) -> httpx.Response:
        question = case.request(model or case.name, **fields)
        return self.client.post(case.path, json=question, headers=key)

    def usage(self, key: dict[str, str]) -> dict[str, Any]:
        answer = self.client.get("/usage", headers=key)
        assert answer.status_code == 200
        usage: dict[str, Any] = answer.json()
        return usage

    def statuses(self, key: dict[str, str], answers: int) -> list[int]:
        """The statuses that the gateway has logged, once there are `answers` with 200."""
        caller = self.usage(key)["caller"]

        def logged() -> list[int]:
            lines = [json.loads(text) for text in self.process.output.splitlines() if text.startswith("{")]
            mine = [entry for entry in lines if entry.get("key") == caller and entry["route"] != "/usage"]
            return [entry["status"] for entry in mine]

        wait_until(lambda: logged().count(200) == answers, 5, "all answers are logged")
        return logged()


def header_names(case: Case, unit: str) -> list[str]:
    """The names of the headers with limit, remaining and reset."""
    fields = ("limit", "remaining", "reset")
    if case.path == "/v1/messages":
        return [f"anthropic-ratelimit-{unit}-{field}" for field in fields]
    return [f"x-ratelimit-{field}-{unit}" for field in fields]
