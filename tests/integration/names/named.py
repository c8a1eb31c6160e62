"""A gateway with aliases, and the fake Ollama behind it."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.fakes.ollama import FakeOllama, Received
from tests.integration.programs import line_of
from tests.processes import Process


@dataclass
class Named:
    process: Process
    url: str
    fake: FakeOllama
    keys: dict[str, str]
    client: httpx.Client

    def key(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}"}

    def send(self, path: str, body: bytes, who: str = "user") -> tuple[httpx.Response, Received]:
        """The answer, and the request that has reached the model server."""
        headers = {**self.key(who), "Content-Type": "application/json"}
        before = len(self.fake.received)
        answer = self.client.post(path, content=body, headers=headers)
        (received,) = self.fake.received[before:]
        return answer, received

    def ask(self, path: str, who: str = "user", **fields: Any) -> httpx.Response:
        return self.client.post(path, json=fields, headers=self.key(who))

    def get(self, path: str, who: str = "user") -> httpx.Response:
        return self.client.get(path, headers=self.key(who))

    def logged(self, answer: httpx.Response) -> dict[str, Any]:
        return line_of(self.process, answer.headers["x-request-id"])

    def sent_last(self) -> dict[str, Any]:
        """The JSON that the model server received last."""
        found: dict[str, Any] = json.loads(self.fake.received[-1].body)
        return found
