"""Builds the gateway's ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from . import __version__
from .access.keyring import Keyring
from .backends.pool import Pool
from .errors import GatewayError, NotServed
from .http.cors import Cors
from .http.error_response import defect_response, error_response
from .http.middleware import RequestObserver, ShortCut
from .routes import answers, chat, ops, passthrough, queue, responses, servers, usage
from .settings import Settings, load_settings
from .state import State
from .telemetry import shared
from .telemetry.logs import configure_structlog
from .telemetry.tracing import tracing

# How long the start waits for the first poll; without it models would be counted under "other".
FIRST_POLL_SECONDS = 1

PARTS = (chat, answers, passthrough, responses, queue, servers, usage, ops)


class Lifespan(TypedDict):
    gateway: State


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The gateway as an ASGI application; its shared State lives as long as the lifespan."""
    settings = settings or load_settings()
    configure_structlog(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Lifespan]:
        workers_folder = shared.folder()
        keyring = Keyring(settings, workers_folder / "had-keys" if workers_folder else None)
        async with tracing(settings) as tracer:
            pool = Pool(settings)
            state = State(settings, pool, keyring, tracer)
            tasks = [pool.watch(), keyring.watch(), state.update_metrics(), state.loop_watch.run()]
            if state.sharing:
                tasks.append(state.sharing.run())
            background = [asyncio.create_task(task) for task in tasks]
            try:
                await pool.wait_polled(FIRST_POLL_SECONDS)
                if state.sharing:
                    await state.sharing.wait_member()
                yield {"gateway": state}
            finally:
                await state.shelf.aclose()
                if state.sharing:
                    await state.sharing.aclose()
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                await pool.aclose()

    api = FastAPI(
        title="Sluice",
        version=__version__,
        description="Streams a local model's answers, token by token.",
        lifespan=lifespan,
        # Served by routes/ops.py, which requires a key.
        docs_url=None,
        openapi_url=None,
        # Relative to the OpenAPI document: see `docs` in routes/ops.py.
        servers=[{"url": "."}],
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI's own spans lack models and outcomes, and cost a call per token.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.add_exception_handler(GatewayError, error_response)
    api.add_exception_handler(HTTPException, _on_http_exception)
    api.add_exception_handler(Exception, defect_response)
    for part in PARTS:
        api.include_router(part.router)
    # Around FastAPI, not inside: its own middleware stack would cost more than the routes themselves.
    answering = [*chat.router.routes, *passthrough.router.routes]
    return Cors(RequestObserver(ShortCut(api, answering, error_response)), settings.origins)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """The router's own errors: unknown path, or method not allowed."""
    assert isinstance(error, HTTPException)
    problem = "method is not allowed" if error.status_code == 405 else "path does not exist"
    response = await error_response(request, NotServed(f"this {problem} here; see /docs", error.status_code))
    if error.status_code == 405:
        response.headers["allow"] = ", ".join(_methods_at(request.scope["route"].path))
    return response


def _methods_at(path: str) -> list[str]:
    """All methods at a path: FastAPI has a route for each, and reports only the first."""
    routes = [route for part in PARTS for route in part.router.routes]
    found = (route.methods or () for route in routes if isinstance(route, APIRoute) and route.path == path)
    return sorted(set().union(*found))
