"""For those who run the gateway: is it alive, can it answer, what has it counted."""

import asyncio
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..access.guard import came_by_the_edge
from ..errors import Forbidden, Overloaded
from ..state import state_of
from .heads import answer_heads

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive")
@router.get("/health", summary="Alive, where other servers have it")
async def healthz() -> JSONResponse:
    """200 as long as the process answers at all; a reason to restart it otherwise."""
    return JSONResponse({"status": "alive"})


@router.get(
    "/readyz", summary="Able to answer", responses={503: {"description": "Not now; `missing` says why"}}
)
async def readyz(request: Request) -> JSONResponse:
    """200 when the model server is up and has the default model; a reason to send no traffic otherwise."""
    state = state_of(request)
    missing = "the gateway is stopping" if state.draining else state.pool.missing
    if missing:
        return JSONResponse({"status": "not ready", "missing": missing}, status_code=503)
    access = {"access": "open" if state.keyring.is_open else "keys"}
    audit = {"audit": state.audit.problem} if state.audit.problem else {}
    return JSONResponse({"status": "ready", **access, **audit})


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Reached on the gateway's own port; nginx refuses it."""
    # Not by its path alone, which clients can spell in many ways.
    if came_by_the_edge(request):
        raise Forbidden("metrics are not served here")
    state = state_of(request)
    if state.settings.open_metrics == "off":
        state.identify(request, "metrics")
    state.count()
    # In a thread: putting the text together takes longer than a stream may wait.
    try:
        return Response(await asyncio.to_thread(state.scrape.text), media_type=CONTENT_TYPE_LATEST)
    except OSError as error:
        raise Overloaded(f"the metrics cannot be read now: {error.strerror}") from error


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    state_of(request).identify(request, "read")
    return JSONResponse(cast(FastAPI, request.app).openapi())


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """All addresses are relative: a proxy outside may have the gateway under a path of its own."""
    state_of(request).identify(request, "read")
    sent: bytes = request.scope["raw_path"]
    if slashes := len(sent) - len(sent.rstrip(b"/")):
        return RedirectResponse(f"{'../' * slashes}docs")
    return get_swagger_ui_html(openapi_url="openapi.json", title="Sluice")


answer_heads(router)
