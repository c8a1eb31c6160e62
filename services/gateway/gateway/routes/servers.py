"""`GET /servers`: what is known of each model server."""

import math
import time
from collections import Counter
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..access.caller import is_admin
from ..backends.backend import Backend
from ..backends.listing import LoadedModel
from ..errors import Forbidden
from ..state import State, state_of
from .heads import answer_heads

router = APIRouter(tags=["operations"])


@router.get(
    "/servers",
    summary="The model servers",
    responses={403: {"description": "The caller is not an admin"}},
)
async def servers(request: Request) -> JSONResponse:
    """Each model server, with its models and what it does. `reason` says why an unavailable one gets no
    requests, or why it is not ready. Times are in seconds, sizes in bytes. With several workers `slots`,
    `speeds` and `breaker` are those of the worker that answers.
    """
    state = state_of(request)
    caller = state.identify(request, "read")
    if not is_admin(caller, state.settings):
        needed = "an API key with the role admin" if caller.name else "GATEWAY_ADMIN_API=on"
        raise Forbidden(f"the model servers are shown to admins only; this needs {needed}")
    busy = Counter((turn.server, turn.model) for turn in state.ledger.turns() if turn.is_running)
    shown = [_server(state, backend, busy) for backend in state.pool.backends]
    return JSONResponse({"servers": shown}, headers={"cache-control": "no-store"})


def _server(state: State, backend: Backend, busy: Counter[tuple[str, str]]) -> dict[str, Any]:
    running = {model: count for (server, model), count in busy.items() if server == backend.name}
    used = sorted({model.name for model in backend.loaded} | running.keys())
    return {
        "name": backend.name,
        "address": backend.upstream.base_url,
        "weight": backend.weight,
        "available": backend.available,
        "reason": _reason(backend),
        "breaker": backend.breaker.state,
        "models": sorted(backend.models),
        "loaded": [_loaded(model) for model in backend.loaded],
        "slots": {
            model: {"busy": running.get(model, 0), "of": state.ledger.share(backend.slots(model))}
            for model in used
        },
        "speeds": {
            model: {
                "tokens_per_second": _rounded(speed.tokens.value),
                "first_byte_seconds": _rounded(speed.first_byte.value),
            }
            for model, speed in backend.speeds.items()
        },
        "load_seconds": {model: _rounded(seconds) for model, seconds in backend.loader.seconds.items()},
    }


def _reason(backend: Backend) -> str | None:
    if backend.up and not backend.breaker.passes:
        return "its last requests have failed; it is tried again soon"
    if (since := backend.silence.since) is not None:
        return f"it has answered nothing for {time.monotonic() - since:.0f} s, although it was asked"
    return backend.missing


def _loaded(model: LoadedModel) -> dict[str, Any]:
    left = model.unload_after
    unload_after = None if math.isinf(left) else round(left)  # None: never
    return {"name": model.name, "size": model.size, "vram": model.vram, "unload_after": unload_after}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


answer_heads(router)
