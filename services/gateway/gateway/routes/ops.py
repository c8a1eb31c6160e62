"""For those who run the gateway: is it alive, can it answer, what has it counted."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from ..state import state_of

router = APIRouter(tags=["operations"])


@router.get("/healthz", summary="Alive")
async def healthz() -> JSONResponse:
    """200 as long as the process answers at all; a reason to restart it otherwise."""
    return JSONResponse({"status": "alive"})


@router.get(
    "/readyz", summary="Able to answer", responses={503: {"description": "Not now; `missing` says why"}}
)
async def readyz(request: Request) -> JSONResponse:
    """200 when the model server is up and has the default model; a reason to send no traffic otherwise."""
    state = state_of(request)
    missing = "the gateway is stopping" if state.draining else state.backend.missing
    if missing:
        return JSONResponse({"status": "not ready", "missing": missing}, status_code=503)
    return JSONResponse({"status": "ready"})


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Reached on the gateway's own port; nginx refuses it."""
    state = state_of(request)
    state.count()
    # In a thread: putting the text together takes longer than a stream may wait.
    return Response(await asyncio.to_thread(state.scrape.text), media_type=CONTENT_TYPE_LATEST)
