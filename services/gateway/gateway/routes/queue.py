"""`/queue`: who waits for a slot, what runs, and the end of what runs for too long."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ..access.caller import Caller, is_admin
from ..admission.turn import Turn
from ..errors import AnswerStopped, NotServed
from ..state import State, state_of
from .heads import answer_heads

router = APIRouter(tags=["queue"])

TEXT = {"type": "string"}

# What Anthropic's clients know as the id: dialects.anthropic.own_id.
ANTHROPIC_PREFIX = "req_"


@router.get("/queue", summary="Requests that run or wait")
async def queue(request: Request) -> JSONResponse:
    """A caller sees its own requests, an admin all of them. `running` and `waiting` are in their order; times
    are in seconds. With several workers these are the requests of the one that answers.
    """
    state = state_of(request)
    caller = state.identify(request, "read")
    turns = [turn for turn in state.ledger.turns() if _may_see(state, caller, turn)]
    running = [_running(turn) for turn in turns if turn.started is not None]
    waiting = [_waiting(turn) for turn in turns if turn.started is None]
    return JSONResponse({"running": running, "waiting": waiting}, headers={"cache-control": "no-store"})


@router.delete(
    "/queue/{request_id}",
    status_code=204,
    summary="End a request that runs or waits",
    responses={404: {"description": "None of the caller's requests has this id"}},
    openapi_extra={"parameters": [{"name": "request_id", "in": "path", "required": True, "schema": TEXT}]},
)
async def stop(request: Request) -> Response:
    """Its client gets an error as the end of the answer, and its slot is free within a second. A caller may
    end its own requests, an admin all of them.
    """
    state = state_of(request)
    caller = state.identify(request, "read")
    request_id = request.path_params["request_id"].removeprefix(ANTHROPIC_PREFIX)
    # Clients choose the ids, and may use one twice.
    turns = [turn for turn in state.ledger.turns() if turn.request_id == request_id]
    found = [turn for turn in turns if _may_see(state, caller, turn)]
    for turn in found:
        by = "by its caller" if turn.caller == caller.identity else "by an admin"
        turn.stop(AnswerStopped(f"the answer was stopped {by}"))
    if not found:
        raise NotServed("no request with this id runs or waits; GET /queue lists them", 404)
    return Response(status_code=204)


def _may_see(state: State, caller: Caller, turn: Turn) -> bool:
    return is_admin(caller, state.settings) or turn.caller == caller.identity


def _running(turn: Turn) -> dict[str, Any]:
    used = turn.tokens()
    age = time.monotonic() - (turn.started or turn.entered)
    return {**_common(turn), "age_seconds": round(age, 1), "output_tokens": used.output}


def _waiting(turn: Turn) -> dict[str, Any]:
    standing = turn.standing._asdict() if turn.standing else {}
    return {**_common(turn), "waited_seconds": round(time.monotonic() - turn.entered, 1), **standing}


def _common(turn: Turn) -> dict[str, Any]:
    return {"request_id": turn.request_id, "caller": turn.caller, "model": turn.model}


answer_heads(router)
