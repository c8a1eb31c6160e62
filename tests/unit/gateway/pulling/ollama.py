"""A fake Ollama whose pulls go as a test scripts them."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.ollama import Answer, Do, Step


def line(status: str, **fields: Any) -> bytes:
    return json.dumps({"status": status, **fields}).encode() + b"\n"


def part(digest: str, completed: int, total: int) -> bytes:
    # Ollama leaves a `completed` of 0 out.
    return line(
        f"pulling {digest}",
        digest=f"sha256:{digest}",
        total=total,
        **({"completed": completed} if completed else {}),
    )


def error(text: str) -> bytes:
    return json.dumps({"error": text}).encode() + b"\n"


MANIFEST, VERIFYING, SUCCESS = line("pulling manifest"), line("verifying sha256 digest"), line("success")
HALF = part("aa", 5, 10)
GOOD = Answer([MANIFEST, part("aa", 5, 10), part("aa", 10, 10), VERIFYING, line("writing manifest"), SUCCESS])

NO_NETWORK = Answer(
    [MANIFEST, error('pull model manifest: Get "https://r/v2/": dial tcp: lookup r: no such host')]
)

UNKNOWN = Answer([MANIFEST, error("pull model manifest: file does not exist")])


@dataclass
class PullingOllama:
    """`answers` are those to a model's next pulls; the last one holds for all that follow."""

    models: list[str] = field(default_factory=list)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    pulls: list[str] = field(default_factory=list)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    unready: int = 0
    """Times that it cannot say what it has."""
    forgets: int = 0
    """Pulls of which nothing comes."""
    url: str = ""

    @asynccontextmanager
    async def running(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator["PullingOllama"]:
        app = web.Application()
        app.router.add_get("/api/tags", self._tags)
        app.router.add_post("/api/pull", self._pull)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        self.url = f"http://{host}:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _tags(self, _: web.Request) -> web.Response:
        if self.unready:
            self.unready -= 1
            raise web.HTTPServiceUnavailable
        return web.json_response({"models": [{"name": name} for name in self.models]})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["model"]
        self.pulls.append(name)
        script = self.answers.get(name, [GOOD])
        answer = script.pop(0) if len(script) > 1 else script[0]
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/x-ndjson"})
        try:
            await self._play(answer.steps, request, response)
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        if self.forgets:
            self.forgets -= 1
        elif SUCCESS in answer.steps:
            self.models.append(name if ":" in name else f"{name}:latest")
        return response

    async def _play(self, steps: Sequence[Step], request: web.Request, response: web.StreamResponse) -> None:
        await response.prepare(request)
        for step in steps:
            if isinstance(step, bytes):
                await response.write(step)
            elif step is Do.DROP and request.transport:
                request.transport.abort()
            elif step is Do.HANG:
                await asyncio.Event().wait()
            elif step is Do.WAIT:
                # What Ollama does while nothing arrives.
                while True:
                    await response.write(HALF)
                    await asyncio.sleep(0.01)
