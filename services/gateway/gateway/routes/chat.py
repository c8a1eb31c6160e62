"""`POST /chat`: Ollama's chat request in, Server-Sent Events out."""

from typing import Any

from fastapi import APIRouter, Request, Response

from ..ask.fields import Fields, model_name
from ..ask.reading import read
from ..dialects.chat_sse import error_body
from ..errors import InvalidRequest
from ..state import state_of
from .answer import answer
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
        "format": {"description": "json, or a JSON schema"},
        "tools": {"type": "array", "items": {"type": "object"}},
        "think": {"description": "true, false, or how much"},
        "keep_alive": {"description": "seconds, or a duration as 5m"},
    },
    "examples": [
        {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]},
    ],
}
EVENTS = """\
One event a line of Ollama's stream, the moment it comes; the last one has `"done":true`. Lines that begin
with a colon are signs of life. If the answer fails midway, the last event is `event: error`."""
ERROR = {"application/json": {"example": error_body(InvalidRequest("what was wrong"), "4bf92f3577b34da6")}}


@router.post(
    "/chat",
    summary="Stream an answer",
    response_class=Response,
    responses={
        200: {"description": EVENTS, "content": {"text/event-stream": {}}},
        400: {"description": "The request cannot be used; the message says why", "content": ERROR},
        401: {"description": "There is no key, or none that is valid", "content": ERROR},
        403: {"description": "The model is in a cloud, or caller or page may not ask this", "content": ERROR},
        404: {"description": "The model server has no such model", "content": ERROR},
        413: {"description": "The body is over GATEWAY_MAX_BODY_BYTES", "content": ERROR},
        502: {"description": "The model server cannot be reached, or failed", "content": ERROR},
        503: {"description": "Overloaded or stopping; see Retry-After", "content": ERROR},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}},
    },
)
async def chat(request: Request) -> Response:
    """The same request as Ollama's `/api/chat`; the answer comes as Server-Sent Events."""
    state = state_of(request)
    caller = state.caller(request, CHAT_ROUTE.kind)
    # The body goes on as it came: upstream sees every field, and nothing is serialised twice.
    ask = await read(request, CHAT_ROUTE, caller, state.settings.max_body_bytes)
    check(ask.fields)
    return answer(request, ask)


def check(fields: Fields) -> None:
    """What is needed here; the rest is Ollama's to judge. Raises InvalidRequest."""
    if not fields:
        raise InvalidRequest("the request body is empty; send a JSON object with model and messages")
    named = fields.get("model")
    if named is None or not model_name("model", named).strip():
        raise InvalidRequest("model: a model's name is needed, as in smollm2:135m")
    if fields.get("stream") not in (None, True):
        raise InvalidRequest("stream: POST /chat always streams; leave the field out or set it to true")
