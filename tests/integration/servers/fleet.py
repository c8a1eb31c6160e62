"""A gateway in front of several fake servers, called gpu1, gpu2 and so on."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.ollama import Do, FakeOllama, Received, Step
from tests.integration.programs import gateway
from tests.processes import Process, free_port, wait_until


class Server(FakeOllama):
    """Lists its models with what clients need to read them."""

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Accepts connections meanwhile, and does nothing else, like a process that is stopped."""
        thawed = threading.Event()
        self._loop.call_soon_threadsafe(thawed.wait)
        try:
            yield
        finally:
            thawed.set()

    def _listed(self, name: str) -> dict[str, Any]:
        return {**super()._listed(name), "model": name, "size": 5, "digest": "0" * 12}

    def asked_for(self, path: str, model: str) -> list[Received]:
        """The requests for the model at this path."""
        return [
            seen
            for seen in self.received
            if seen.path == path and seen.body and json.loads(seen.body).get("model") == model
        ]


@dataclass
class Fleet:
    """`client` speaks to the gateway."""

    servers: Sequence[Server]
    url: str
    client: httpx.Client
    process: Process
    audit: Path

    def wait_ready(self) -> None:
        """Waits until every server has been polled."""

        def ready() -> bool:
            answer = self.client.get("/readyz")
            return answer.status_code == 200 and "servers" not in answer.json()

        wait_until(ready, 30, "every server is ready")

    def audited(self, request_id: str) -> dict[str, Any]:
        """The audit line of a request."""

        def found() -> list[dict[str, Any]]:
            lines = self.audit.read_text().splitlines() if self.audit.exists() else []
            return [line for line in map(json.loads, lines) if line["request_id"] == request_id]

        wait_until(found, 10, f"an audit line for {request_id}")
        (line,) = found()
        return line


@contextmanager
def fleet(
    folder: Path, names: Sequence[str], dead: Sequence[str] = (), **environment: str
) -> Iterator[Fleet]:
    """Servers with these names; behind each of `dead` nobody listens."""
    audit = folder / "audit"
    with ExitStack() as stack:
        servers = {name: Server() for name in names if name not in dead}
        for server in servers.values():
            stack.enter_context(server.running())
            server.answer("everywhere", Do.HEADERS)
        urls = {name: servers[name].url if name in servers else nobody() for name in names}
        settings = {
            "GATEWAY_OLLAMA_URLS": ", ".join(f"{url} name={name}" for name, url in urls.items()),
            "GATEWAY_AUDIT_FILE": str(audit),
            "GATEWAY_ADMIN_API": "on",
            **environment,
        }
        process, url = stack.enter_context(gateway("http://unused", folder, **settings))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=30, trust_env=False))
        yield Fleet([*servers.values()], url, client, process, audit)


def nobody() -> str:
    """The URL of a server that is down."""
    return f"http://127.0.0.1:{free_port()}"


def lines(*objects: dict[str, Any]) -> list[Step]:
    return [json.dumps(fields).encode() + b"\n" for fields in objects]


MANIFEST = {"status": "pulling manifest"}
SUCCESS = {"status": "success"}


def layer(completed: int, total: int = 100) -> dict[str, Any]:
    digest = "sha256:" + "1" * 64
    return {"status": "pulling 111111111111", "digest": digest, "total": total, "completed": completed}


def pulled(fleet: Fleet, model: str, **headers: str) -> list[dict[str, Any]]:
    """The lines of a pull."""
    answer = fleet.client.post("/api/pull", json={"model": model}, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def found(fleet: Fleet, path: str, field: str, name: str) -> dict[str, Any]:
    """The models in a list, with their servers."""
    return servers_of(fleet.client.get(path), field, name)


def servers_of(answer: httpx.Response, field: str, name: str) -> dict[str, Any]:
    assert answer.status_code == 200
    names = [item[name] for item in answer.json()[field]]
    assert len(names) == len(set(names))
    return {item[name]: item["servers"] for item in answer.json()[field]}
