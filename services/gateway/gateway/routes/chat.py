"""`POST /chat`: Ollama's chat request in, Server-Sent Events out."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ..answers.preference import preference
from ..ask.fields import Fields, model_name
from ..dialects.chat_sse import error_body
from ..errors import InvalidRequest
from ..state import state_of
from .answer import answer
from .keep import keep
from .table import CHAT_ROUTE

router = APIRouter(tags=["chat"])

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {"type": "string", "minLength": 1},
        "messages": {"type": "array", "items": {"type": "object"}},
        "stream": {"type": "boolean", "enum": [True]},
        "options": {"type": "object"},
        "format": {"description": "`json`, or a JSON schema"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "think": {"description": "true, false, or a level as `high`"},
        "keep_alive": {"description": "seconds, or a duration as `5m`"},
    },
    "examples": [
        {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
    ],
}
EVENTS = """\
One event per line of Ollama's stream, sent as soon as it arrives; the last one has `"done":true`. Lines that
begin with a colon are heartbeats. Before the answer, `event: status` says what it waits for:
`{"state":"queued","position":3,"of":7,"eta_seconds":12}` or `{"state":"loading"}`. If the answer fails
midway, the last event is `event: error`."""
ERROR = {"application/json": {"example": error_body(InvalidRequest("what was wrong"), "4bf92f3577b34da6")}}


@router.post(
    "/chat",
    summary="Stream a chat answer",
    response_class=Response,
    responses={
        200: {"description": EVENTS, "content": {"text/event-stream": {}}},
        400: {"description": "Invalid request; the message gives the reason", "content": ERROR},
        401: {"description": "Missing or invalid API key", "content": ERROR},
        403: {"description": "Not allowed for this caller or web page, or a cloud model", "content": ERROR},
        404: {"description": "Model not found", "content": ERROR},
        410: {
            "description": "Stopped, or longer than GATEWAY_MAX_ANSWER_SECONDS",
            "content": ERROR,
        },
        413: {"description": "Request body larger than GATEWAY_MAX_BODY_BYTES", "content": ERROR},
        429: {
            "description": "A limit, or the share of the queue, is reached; see Retry-After",
            "content": ERROR,
        },
        502: {"description": "The model server is unreachable or failed", "content": ERROR},
        503: {
            "description": "Queue full, overloaded or stopping; see Retry-After",
            "content": ERROR,
        },
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}},
    },
)
async def chat(request: Request) -> Response:
    """Takes the same request as Ollama's `/api/chat` and answers with Server-Sent Events."""
    state = state_of(request)
    caller = state.caller(request, CHAT_ROUTE.kind)
    prefers = preference(request.scope["headers"], state.shelf.longest)
    # Nothing is serialised twice: upstream sees every field as it was sent, but for those that are changed.
    ask = await state.reader.read(request, CHAT_ROUTE, caller)
    check(ask.fields)
    return keep(request, ask, prefers) if prefers else answer(request, ask)


def check(fields: Fields) -> None:
    """Check what this route requires; Ollama validates the rest. Raises InvalidRequest."""
    if not fields:
        raise InvalidRequest("the request body is empty; send a JSON object with model and messages")
    named = fields.get("model")
    if named is None or not model_name("model", named).strip():
        raise InvalidRequest("model: a model name is required, e.g. smollm2:135m")
    if fields.get("stream") not in (None, True):
        raise InvalidRequest("stream: POST /chat always streams; omit the field or set it to true")
