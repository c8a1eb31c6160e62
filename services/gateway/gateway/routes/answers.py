"""`/chat/{id}`: read an answer that is kept, or end it."""

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from ..answers.kept import Kept
from ..answers.reading import Reading
from ..dialects.chat_sse import ChatSSE
from ..errors import AnswerStopped, ClientGone, InvalidRequest
from ..state import record_of, state_of
from ..telemetry.metrics import ANSWERS_RESUMED
from ..telemetry.record import RequestRecord

router = APIRouter(tags=["chat"])

# How long an EventSource waits before it comes back, in milliseconds.
RETRY = b"retry: 1000\n\n"

ID_PARAMETER = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
AFTER = {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0}}
LAST_EVENT_ID = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}
NOT_FOUND = {"description": "None of the caller's answers has this id"}


@router.get(
    "/chat/{id}",
    summary="Read an answer on",
    response_class=Response,
    responses={
        200: {"description": "The events that come next", "content": {"text/event-stream": {}}},
        204: {"description": "The answer has ended, and nothing comes after that event"},
        404: NOT_FOUND,
        410: {"description": "The answer has grown too large to be kept"},
        429: {"description": "Too many connections read the answer"},
    },
    openapi_extra={"parameters": [ID_PARAMETER, AFTER, LAST_EVENT_ID]},
)
async def read(request: Request) -> Response:
    """The events of an answer that was asked for with `Prefer`, after the one that `Last-Event-ID` or else
    `after` names, without them from the beginning; then those that follow, as they come. An `EventSource`
    reads it to its end over any number of connections.
    """
    kept = await _kept(request)
    position = _position(request, kept)
    if kept.ended and position == kept.log.end:
        return Response(status_code=204)
    reading = Reading(kept, state_of(request).settings.send_timeout, position, RETRY)
    ANSWERS_RESUMED.inc()
    return Resumed(reading, record_of(request))


@router.head("/chat/{id}", include_in_schema=False)
async def head(request: Request) -> Response:
    """What `read` would begin with, without waiting for the answer's end."""
    kept = await _kept(request)
    position = _position(request, kept)
    nothing_left = kept.ended and position == kept.log.end
    return Response(status_code=204) if nothing_left else Response(media_type=ChatSSE.media_type)


@router.delete(
    "/chat/{id}",
    status_code=204,
    summary="End and forget an answer",
    responses={404: NOT_FOUND},
    openapi_extra={"parameters": [ID_PARAMETER]},
)
async def delete(request: Request) -> Response:
    """Whoever reads it gets an error as its end, and its slot is free within a second."""
    await delete_answer(request, await _kept(request))
    return Response(status_code=204)


class Resumed(Response):
    """A reading that is a request of its own."""

    def __init__(self, reading: Reading, record: RequestRecord) -> None:
        super().__init__()
        self._reading = reading
        self._record = record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._reading(scope, receive, send)
        if not self._reading.is_complete:
            self._record.status, self._record.outcome = ClientGone.status, ClientGone.outcome


async def _kept(request: Request) -> Kept:
    """Raises as `State.identify` and `Shelf.find`."""
    state = state_of(request)
    caller = state.identify(request, "inference")
    return await state.shelf.find(request.path_params["id"], ChatSSE, caller.identity)


def _position(request: Request, kept: Kept) -> int:
    """Raises as `position_after`."""
    said = request.headers.get("last-event-id") or request.query_params.get("after") or "0"
    return position_after(kept, said, "after, or Last-Event-ID", 1)


def position_after(kept: Kept, said: str, name: str, first: int) -> int:
    """The position after an event that the client names, in `name`; the first one has the number `first`.
    Raises InvalidRequest, AnswerNotKept.
    """
    if not said.isascii() or not said.isdecimal() or len(said) > 9:
        raise InvalidRequest(f"{name}: {said[:40]!r} is not the number of an event, such as 7")
    kept.visit()
    try:
        return kept.log.after(int(said) + 1 - first)
    except IndexError:
        raise InvalidRequest(f"{name}: there is no event {said} yet") from None


async def delete_answer(request: Request, kept: Kept) -> None:
    """End an answer, and forget it. Raises as `Shelf.delete`."""
    await state_of(request).shelf.delete(kept, AnswerStopped("the answer was stopped by its caller"))
