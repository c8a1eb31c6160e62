"""Endpoints for operators: liveness, readiness, metrics and API documentation."""

import asyncio
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..access.guard import came_through_nginx
from ..errors import Forbidden, Overloaded
from ..state import state_of
from .heads import answer_heads

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Liveness")
@router.get("/health", summary="Liveness, at the path other servers use")
async def healthz() -> JSONResponse:
    """200 while the process responds; otherwise restart it."""
    return JSONResponse({"status": "alive"})


@router.get(
    "/readyz", summary="Readiness", responses={503: {"description": "Not ready; `missing` gives the reason"}}
)
async def readyz(request: Request) -> JSONResponse:
    """200 while a model server is up and has the default model; otherwise send no traffic. With several
    model servers `servers` names those that are not ready, with the reasons.
    """
    state = state_of(request)
    pool = state.pool
    missing = "the gateway is shutting down" if state.draining else pool.missing
    not_ready = pool.not_ready if len(pool.backends) > 1 else {}
    servers = {"servers": not_ready} if not_ready else {}
    if missing:
        return JSONResponse({"status": "not ready", "missing": missing, **servers}, status_code=503)
    access = {"access": "open" if state.keyring.is_open else "keys"}
    audit = {"audit": state.audit.problem} if state.audit.problem else {}
    shared = {"shared": sharing.link.problem} if (sharing := state.sharing) and not sharing.link.up else {}
    return JSONResponse({"status": "ready", **access, **audit, **shared, **servers})


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Available on the gateway's own port; refused through nginx."""
    # nginx's check of the path is not enough: clients can spell a path in many ways.
    if came_through_nginx(request):
        raise Forbidden("metrics are not served here")
    state = state_of(request)
    if state.settings.open_metrics == "off":
        state.identify(request, "metrics")
    state.count()
    # In a thread: building the text would block the event loop for too long.
    try:
        return Response(await asyncio.to_thread(state.scrape.text), media_type=CONTENT_TYPE_LATEST)
    except OSError as error:
        raise Overloaded(f"the metrics cannot be read at the moment: {error.strerror}") from error


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    state_of(request).identify(request, "read")
    return JSONResponse(cast(FastAPI, request.app).openapi())


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """All URLs are relative: an outer proxy may serve the gateway under a path prefix."""
    state_of(request).identify(request, "read")
    sent: bytes = request.scope["raw_path"]
    if slashes := len(sent) - len(sent.rstrip(b"/")):
        return RedirectResponse(f"{'../' * slashes}docs")
    return get_swagger_ui_html(openapi_url="openapi.json", title="Sluice")


answer_heads(router)
