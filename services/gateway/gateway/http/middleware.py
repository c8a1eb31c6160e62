"""Pure ASGI middleware: normalised path, request id, log record. Bodies pass unchanged."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..dialects.api import api_of
from ..errors import Drained, GatewayError, InternalError
from ..state import State
from ..telemetry.record import RequestRecord
from ..telemetry.settling import settle
from ..telemetry.tracing import RequestTrace
from .bypass import refuse_middleware

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

# Safe to copy into logs and headers.
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

SLASHES = re.compile(r"/{2,}")


def clean_path(path: str) -> str:
    """Collapse repeated slashes and strip trailing ones. Dot segments stay: no route matches them."""
    return SLASHES.sub("/", path).rstrip("/") or "/"


class RequestObserver:
    """Accepts a well-formed `X-Request-Id` or generates one, and settles the request's record at its end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # First of all, so that routes, access control and logs see the same path.
        scope["path"] = clean_path(scope["path"])
        record = RequestRecord(request_id=_request_id(scope), client=_client(scope))
        scope["state"]["record"] = record
        state: State = scope["state"]["gateway"]
        scope["state"]["trace"] = RequestTrace(state.tracer, scope, record)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                ids = api_of(scope["path"]).id_headers(record.request_id)
                message["headers"] = [*message["headers"], *ids]
            await send(message)

        async def refuse(failure: GatewayError) -> None:
            if not record.status:
                for message in api_of(scope["path"]).refusal(failure, record.request_id).messages():
                    await send_with_id(message)

        try:
            await state.turnstiles.requests.wait()
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # uvicorn ends a drain that takes too long. It is not raised again: uvicorn would log it as an
            # error of the application, and nothing else waits for this task.
            drained = Drained()
            record.outcome = record.outcome or drained.outcome
            await refuse(drained)
        except Exception:
            # A bug: the client gets an error of the usual shape, never a stack trace.
            state.log.exception("unhandled_exception", request_id=record.request_id)
            failure = InternalError()
            record.outcome = failure.outcome
            await refuse(failure)
        finally:
            if not record.outlives_request:
                settle(scope, state.log, state.audit)


class ShortCut:
    """Calls the endpoint directly if the request's path is exactly a route's path.

    FastAPI's dispatch costs more than all the gateway's own work on a request. It still handles paths with
    parameters, the documentation and unknown paths. See `http.bypass`.
    """

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute], on_error: ErrorHandler) -> None:
        refuse_middleware(app)
        self._app = app
        self._on_error = on_error
        self._routes = {
            (method, route.path): route
            for route in routes
            if isinstance(route, APIRoute) and "{" not in route.path
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request)
        except GatewayError as error:
            response = await self._on_error(request, error)
        await response(scope, receive, send)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given: str = value.decode("latin-1")
            if REQUEST_ID.fullmatch(given):
                return given
    return f"{random.getrandbits(128):032x}"  # not a secret, and os.urandom is slow


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
