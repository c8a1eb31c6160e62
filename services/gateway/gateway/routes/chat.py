"""`POST /chat`: Ollama's chat request in, Server-Sent Events out."""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ..access.fields import Fields, read_fields
from ..dialects.chat_sse import error_body
from ..errors import InvalidRequest
from ..state import state_of
from .egress import check_egress
from .forward import MAX_MODEL_NAME, hand_over, note_model, read_body
from .guard import check_open
from .table import CHAT_ROUTE

router = APIRouter(tags=["chat"])


class Message(BaseModel):
    """One turn. Further fields of Ollama's (`images`, `tool_calls`, `thinking`, …) are passed on."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    images: list[str] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        # Ollama's clients leave the content of a turn out that only calls tools.
        if self.content is None and not self.tool_calls and not self.images:
            raise PydanticCustomError("missing", "content: Field required")
        return self


class ChatRequest(BaseModel):
    """What Ollama's `/api/chat` takes. Fields that are not named here are passed on as they are."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
            ]
        },
    )

    model: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_MODEL_NAME)]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: Literal[True] | None = None
    options: dict[str, Any] | None = None
    format: Literal["json", ""] | dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    think: bool | str | None = None
    keep_alive: str | int | float | None = None


def _schema() -> dict[str, Any]:
    """For the documentation, without references: they would point to where FastAPI has put nothing."""
    schema = ChatRequest.model_json_schema()
    schema["properties"]["messages"]["items"] = schema.pop("$defs")["Message"]
    return schema


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
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema()}},
        }
    },
)
async def chat(request: Request) -> Response:
    """The same request as Ollama's `/api/chat`; the answer comes as Server-Sent Events."""
    allowed = check_open(request, CHAT_ROUTE.kind)
    body = await read_body(request, state_of(request).settings.max_body_bytes)
    # The body goes on as it came: upstream sees every field, and nothing is serialised twice.
    asked = validated(body)
    note_model(request, asked.model)
    fields = fields_of(body, asked)
    if allowed:
        for name in fields.models(CHAT_ROUTE.naming):
            allowed.check(name)
    await check_egress(state_of(request), CHAT_ROUTE, fields)
    return hand_over(request, CHAT_ROUTE, body, asked.model, streams=True)


def fields_of(body: bytes, asked: ChatRequest) -> Fields:
    """What matters here is only the model. Where no other field could be read as `model`, however it is
    written, the body is not read a second time.
    """
    # A single byte is found fastest, and what is not ASCII is seldom escaped.
    said_once = body.count(b'"model"') == 1 and not (b"\\" in body and b"\\u00" in body)
    others = asked.model_extra or {}
    if said_once and not any(field.casefold() == "model" for field in others):
        return Fields([("model", asked.model)])
    return read_fields(body)


def validated(body: bytes) -> ChatRequest:
    """Raises InvalidRequest with one sentence that names the field."""
    if not body.strip():
        raise InvalidRequest("the request body is empty; send a JSON object with model and messages")
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
    if problem["type"] == "json_invalid":
        raise InvalidRequest(f"the request body is not valid JSON: {problem['ctx']['error']}")
    if problem["loc"] == ("stream",):
        raise InvalidRequest("stream: POST /chat always streams; leave the field out or set it to true")
    raise InvalidRequest(f"{_place(problem['loc']) or 'the request body'}: {problem['msg']}")


def _place(location: tuple[int | str, ...]) -> str:
    """`messages[1].role`. pydantic also names the member of a union in which it looked; that is left out."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if _is_field(part)]
    return "".join(parts).lstrip(".")


def _is_field(part: int | str) -> bool:
    return isinstance(part, int) or part.isidentifier()
