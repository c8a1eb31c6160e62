"""Logs one line per request, when it ends."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.exchange import Record

# Polled every few seconds by health checks, the gateway and Prometheus; logged at debug level.
POLLED = frozenset({"/", "/api/version", "/api/tags", "/api/ps", "/metrics"})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = structlog.get_logger()


class RequestLog:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        record = scope["state"]["record"] = Record()
        client_id = Headers(scope=scope).get("x-request-id", "")
        request_id = client_id if _REQUEST_ID.fullmatch(client_id) else uuid4().hex
        began = time.monotonic()
        first: float | None = None
        status: int | None = None
        chunks = 0

        async def counting_send(event: Message) -> None:
            nonlocal first, status, chunks
            if event["type"] == "http.response.start":
                status = event["status"]
            elif event.get("body"):
                first = first or time.monotonic()
                chunks += 1
            await send(event)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, counting_send)
            finally:
                # A path without a route is whatever the client sent, so it is not logged.
                route = scope.get("route")
                path = route.path if route else "unknown"
                write = log.debug if path in POLLED else log.info
                write(
                    "request",
                    method=scope["method"],
                    route=path,
                    model=record.model,
                    outcome=record.outcome or ("ok" if status and status < 400 else "error"),
                    status=status,
                    ttft_seconds=round(first - began, 6) if first else None,
                    duration_seconds=round(time.monotonic() - began, 6),
                    chunks=chunks,
                    prompt_tokens=record.prompt_tokens,
                    output_tokens=record.output_tokens,
                    client=(scope.get("client") or [None])[0],
                )
