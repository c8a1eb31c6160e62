"""`/queue`: who waits for a slot, what runs, and the end of what runs for too long."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ..access.caller import Caller, is_admin
from ..errors import NotServed
from ..state import State, state_of
from .heads import answer_heads

router = APIRouter(tags=["queue"])

TEXT = {"type": "string"}

# What Anthropic's clients know as the id: dialects.anthropic.own_id.
ANTHROPIC_PREFIX = "req_"


@router.get("/queue", summary="Requests that run or wait")
async def queue(request: Request) -> JSONResponse:
    """A caller sees its own requests, an admin all of them. `running` and `waiting` are in their order; times
    are in seconds. With several workers that share no state, these are the requests of the one that answers.
    """
    state = state_of(request)
    caller = state.identify(request, "read")
    running, waiting = await state.queue(_whose(state, caller))
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
    if not await state.stop(request_id, _whose(state, caller), caller.identity):
        raise NotServed("no request with this id runs or waits; GET /queue lists them", 404)
    return Response(status_code=204)


def _whose(state: State, caller: Caller) -> str | None:
    """Whose requests a caller may see and end; None: everybody's."""
    return None if is_admin(caller, state.settings) else caller.identity


answer_heads(router)
