"""OpenAI's responses in the background: `background` on `POST /v1/responses`, and `/v1/responses/{id}`.

https://platform.openai.com/docs/guides/background
"""

import json
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from ..answers.kept import Kept
from ..answers.reading import Accepted, FirstReading, Reading
from ..ask.background import in_background, streamed
from ..ask.fields import run_in_steps
from ..dialects.background import ID, Background, response_in
from ..errors import AnswerCancelled, InvalidRequest
from ..state import record_of, state_of
from ..telemetry.metrics import ANSWERS_RESUMED
from .answer import answer
from .answers import ID_PARAMETER, NOT_FOUND, Resumed, delete_answer, position_after
from .heads import answer_heads
from .keep import start
from .table import RESPONSES_ROUTE

router = APIRouter(tags=[RESPONSES_ROUTE.api.name])

STREAM = {"name": "stream", "in": "query", "schema": {"type": "boolean"}}
STARTING_AFTER = {"name": "starting_after", "in": "query", "schema": {"type": "integer", "minimum": 0}}
RESPONSE = {"description": "The response as it is", "content": {"application/json": {}}}
NOT_KEPT = {"description": "The response has grown too large to be kept"}
TRUTH = {"true": True, "false": False, "": False}


async def create(request: Request) -> Response:
    """As Ollama, and with `background` as OpenAI: the response is made whether its client stays or not."""
    state = state_of(request)
    caller = state.caller(request, RESPONSES_ROUTE.kind)
    ask = await state.reader.read(request, RESPONSES_ROUTE, caller)
    if not in_background(ask.fields):
        return answer(request, ask)
    if not state.shelf.longest:
        raise InvalidRequest(
            "background: responses are not kept here, which needs a GATEWAY_RESUME_MAX above 0 and, with "
            "several workers, GATEWAY_SHARED_URL; leave the field out"
        )
    assert isinstance(ask.body, bytes)
    ask = replace(ask, body=await run_in_steps(streamed(ask.body)))
    limit, model = state.settings.max_line_bytes, ask.model or ""
    kept = start(request, ask, state.shelf.longest, lambda answer_id: Background(limit, answer_id, model))
    if ask.streams:
        return FirstReading(kept, state.settings.send_timeout, [])
    return Accepted(kept, 200, [], json.dumps(_response(kept)).encode())


@router.get(
    "/v1/responses/{id}",
    summary="Read a background response",
    response_class=Response,
    responses={
        200: {**RESPONSE, "content": {"application/json": {}, "text/event-stream": {}}},
        400: {"description": "A parameter is invalid"},
        404: NOT_FOUND,
        410: NOT_KEPT,
        429: {"description": "Too many connections read the response"},
    },
    openapi_extra={"parameters": [ID_PARAMETER, STREAM, STARTING_AFTER]},
)
async def retrieve(request: Request) -> Response:
    """The response as it is, which also keeps it going. With `stream=true` its events, after the one that
    `starting_after` names or else from the beginning; then those that follow, as they come.
    """
    kept = await _kept(request)
    if _streams(request):
        if request.method == "HEAD":
            return Response(media_type=Background.media_type)  # without waiting for its end
        said = request.query_params.get("starting_after")
        after = position_after(kept, said, "starting_after", 0) if said else 0
        reading = Reading(kept, state_of(request).settings.send_timeout, after)
        ANSWERS_RESUMED.inc()
        return Resumed(reading, record_of(request))
    return _json(_response(kept))


@router.post(
    "/v1/responses/{id}/cancel",
    summary="Cancel a background response",
    response_class=Response,
    responses={200: RESPONSE, 404: NOT_FOUND, 410: NOT_KEPT},
    openapi_extra={"parameters": [ID_PARAMETER]},
)
async def cancel(request: Request) -> Response:
    """The response as it is then: one that has ended stays what it was."""
    kept = await _kept(request)
    reason = AnswerCancelled("the response was cancelled by its caller")
    await state_of(request).shelf.stop(kept, reason)
    await kept.wait_ended()
    return _json(_response(kept))


@router.delete(
    "/v1/responses/{id}",
    summary="End and forget a background response",
    response_class=Response,
    responses={
        200: {"description": "It is deleted", "content": {"application/json": {}}},
        404: NOT_FOUND,
    },
    openapi_extra={"parameters": [ID_PARAMETER]},
)
async def delete(request: Request) -> Response:
    """Whoever reads it gets an error as its end, and its slot is free within a second."""
    kept = await _kept(request)
    await delete_answer(request, kept)
    return _json({"id": f"{ID}{kept.id}", "object": "response", "deleted": True})


async def _kept(request: Request) -> Kept:
    """Raises as `State.identify` and `Shelf.find`."""
    state = state_of(request)
    caller = state.identify(request, RESPONSES_ROUTE.kind)
    return await state.shelf.find(request.path_params["id"].removeprefix(ID), Background, caller.identity)


def _response(kept: Kept) -> dict[str, Any]:
    """What the client may know of it. Raises AnswerNotKept."""
    kept.visit()
    if kept.ended:
        return response_in(kept.log.last())
    assert isinstance(kept.dialect, Background)
    return kept.dialect.response


def _streams(request: Request) -> bool:
    """Raises InvalidRequest."""
    said = request.query_params.get("stream", "")
    if said not in TRUTH:
        raise InvalidRequest(f"stream: {said[:40]!r} is neither true nor false")
    return TRUTH[said]


def _json(fields: dict[str, Any]) -> Response:
    return Response(json.dumps(fields), media_type="application/json")


answer_heads(router)
