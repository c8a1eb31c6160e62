"""A gateway with a key of every kind, and the classes of its routes."""

import json
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.access.roles import RouteClass
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.fakes.ollama import FakeOllama
from tests.processes import Process

# Routes that do not go upstream, with their class. None: open to everyone.
OWN: dict[tuple[str, str], RouteClass | None] = {
    ("GET", "/health"): None,
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/metrics"): "metrics",
    ("GET", "/chat/{id}"): "inference",
    ("DELETE", "/chat/{id}"): "inference",
    ("GET", "/v1/responses/{id}"): "inference",
    ("POST", "/v1/responses/{id}/cancel"): "inference",
    ("DELETE", "/v1/responses/{id}"): "inference",
    ("GET", "/queue"): "read",
    ("DELETE", "/queue/{request_id}"): "read",
    ("GET", "/servers"): "admin",
    ("GET", "/usage"): "read",
    ("GET", "/docs"): "read",
    ("GET", "/openapi.json"): "read",
}

ROUTES = {(route.method, route.path): route for route in (CHAT_ROUTE, *PASSED_ON)}
GOT = {place: route.kind for place, route in ROUTES.items()} | OWN

# Every GET route has a HEAD for the same roles.
CLASSES = GOT | {("HEAD", path): kind for (method, path), kind in GOT.items() if method == "GET"}

DIGEST = "sha256:" + "0" * 64


@dataclass
class Guarded:
    url: str
    keys: dict[str, str | None]
    folder: Path
    process: Process
    fake: FakeOllama

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def ask(self, method: str, path: str, who: str, body: object = None) -> httpx.Response:
        key = self.keys[who]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # Not through the client's base URL, which would take two leading slashes for a host.
        return self.client.request(method, f"{self.url}{path}", json=body, headers=headers)

    def audited(self) -> list[dict[str, object]]:
        audit = self.folder / "audit"
        return [json.loads(line) for line in audit.read_text().splitlines()] if audit.exists() else []
