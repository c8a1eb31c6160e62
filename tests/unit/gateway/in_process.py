"""A gateway in this process, for what can only be seen from inside."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from gateway.app import create_app
from gateway.server.http_protocol import GuardedHttp
from gateway.settings import Settings


@asynccontextmanager
async def running(upstream: str, **limits: Any) -> AsyncIterator[str]:
    """At a real socket; its log is this process's."""
    settings = Settings(ollama_url=upstream, log_level="error", **limits)
    config = uvicorn.Config(create_app(settings), port=0, http=GuardedHttp, lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    (socket,) = server.servers[0].sockets
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
