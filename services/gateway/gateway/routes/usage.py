"""`GET /usage`: the caller's limits, and what is left of them."""

import math
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from ..admission.accounts import Level
from ..ask.max_output import max_output
from ..state import state_of
from .heads import answer_heads

router = APIRouter(tags=["operations"])

USAGE = """\
The limits of the API key or, without keys, of the address or its /64. `requests` and `tokens` have one object
for each window of `seconds`; `used` may exceed `limit`, because tokens are counted at the end of an answer,
and in `reset_seconds` nothing is used any more. `concurrent` and `max_output` are null if they are not
limited. `in_flight` requests wait or run. `total` covers the last `seconds`."""
WINDOW = {"limit": 60, "seconds": 60, "used": 3, "remaining": 57, "reset_seconds": 41}
EXAMPLE = {
    "caller": "alice",
    "limits": {"requests": [WINDOW], "tokens": [], "concurrent": 2, "max_output": 500},
    "in_flight": 1,
    "total": {"requests": 120, "tokens": 34567, "seconds": 86400},
}


@router.get(
    "/usage",
    summary="The caller's limits, and what is left of them",
    responses={200: {"description": USAGE, "content": {"application/json": {"example": EXAMPLE}}}},
)
async def usage(request: Request) -> JSONResponse:
    """Only requests for a model's answer count. Workers that share nothing show a share of the limits."""
    state = state_of(request)
    caller = state.identify(request, "read")
    balance = await state.limiter.balance(caller)
    return JSONResponse(
        {
            "caller": caller.identity,
            "limits": {
                "requests": [_window(level) for level in balance.requests],
                "tokens": [_window(level) for level in balance.tokens],
                "concurrent": balance.concurrent,
                "max_output": max_output(state.settings, caller),
            },
            "in_flight": balance.in_flight,
            "total": {
                "requests": balance.total_requests,
                "tokens": balance.total_tokens,
                "seconds": math.floor(balance.age),
            },
        },
        headers={"cache-control": "no-store"},
    )


def _window(level: Level) -> dict[str, Any]:
    return {
        "limit": level.window.amount,
        "seconds": level.window.seconds,
        "used": level.used,
        "remaining": level.remaining,
        "reset_seconds": math.ceil(level.reset),
    }


answer_heads(router)
