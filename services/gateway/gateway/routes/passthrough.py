"""One way for every request that goes upstream: read, label, hand over to the relay."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from ..access.allow_list import AllowList, not_found
from ..access.roles import AUDITED
from ..ask.fields import MAX_MODEL_NAME, Fields, fields_of, politely
from ..ask.form import Form
from ..errors import BodyTooLarge, ClientGone, NotServed
from ..names import full_name
from ..state import record_of, state_of
from ..streaming.relay import Relay
from .egress import check_egress, check_model, hidden_models, hides_models
from .guard import check_open
from .heads import answer_heads
from .table import PASSED_ON, RECOMMENDATIONS, Route

router = APIRouter()

LIST_SECONDS = 10

# Answers with a list of models: the field that has it, and the one in which each has its name.
LISTS = {
    "/api/tags": ("models", "name"),
    "/api/ps": ("models", "name"),
    "/v1/models": ("data", "id"),
    RECOMMENDATIONS: ("recommendations", "model"),
}

# Of the client's headers, those that say what the body is. Everything else is between client and gateway.
PASSED_HEADERS = frozenset({b"content-type", b"content-length"})


# Where the worker puts the client's connection: ASGI's name for what servers offer beyond it.
CONNECTION = "sluice.connection"


class Streamed(Response):
    """Hands the connection over to the relay."""

    def __init__(self, relay: Relay, receive: Callable[[Receive], Receive] = lambda receive: receive) -> None:
        super().__init__()
        self._relay = relay
        self._receive = receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(CONNECTION)
        await self._relay.run(self._receive(receive), send, connection)


class Upload:
    """A body that goes upstream as it comes, never held. Until it is complete, it alone may receive."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._complete = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._request.stream():
                yield piece
        except ClientDisconnect:
            raise ClientGone("the client left before its request was complete") from None
        finally:
            self._complete.set()

    def after(self, receive: Receive) -> Receive:
        """`receive` for those who come after the body."""

        async def later() -> Message:
            await self._complete.wait()
            return await receive()

        return later


async def read_body(request: Request) -> bytes:
    """Raises BodyTooLarge, ClientGone."""
    limit = state_of(request).settings.max_body_bytes
    too_large = BodyTooLarge(f"the request body is larger than {limit} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise too_large
            pieces.append(piece)
    except ClientDisconnect:
        raise ClientGone("the client left before its request was complete") from None
    return b"".join(pieces)


def note_model(request: Request, model: str) -> None:
    """What the log and the metrics will say of it, also if the request is refused."""
    record = record_of(request)
    backend = state_of(request).backend
    record.model = model[:MAX_MODEL_NAME]
    record.model_label = backend.label(model)
    record.was_loaded = backend.has_loaded(model)


async def ask(request: Request, route: Route, allowed: AllowList, body: bytes, fields: Fields) -> Streamed:
    """The answer to what the body says, if the caller may ask that. Raises GatewayError."""
    named = fields.get("model") or fields.get("name") or fields.get("source")
    model = named if isinstance(named, str) else None
    if model is not None:
        note_model(request, model)
    if route.kind in AUDITED:
        record_of(request).audited_models = list(fields.models())
    if allowed:
        for name in fields.models(route.naming):
            allowed.check(name, route.not_found)
    await check_egress(state_of(request), route, fields)
    said = fields.get("stream")  # null says nothing, as to Ollama
    streams = route.streams if said is None else said is True
    return hand_over(request, route, body, model, streams=streams)


def hand_over(
    request: Request, route: Route, body: bytes | Upload, model: str | None, streams: bool
) -> Streamed:
    """The answer to a request that has been read and found good. Raises InvalidRequest."""
    state = state_of(request)
    record = record_of(request)
    backend = state.backend
    record.backend = backend.name
    record.operation = route.operation
    stream = route.stream if streams else None
    record.streams = stream is not None
    headers = {
        name.decode(): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if body and name in PASSED_HEADERS
    }
    path = _upstream_path(request, route)
    headers = {
        "content-type": "application/json",
        **headers,
        **record.trace_headers,
        "X-Request-Id": record.request_id,
    }
    # The route's method, not the client's, which may be HEAD.
    if isinstance(body, bytes) and route.kind not in AUDITED:
        asked = model if route.operation else None
        answer = backend.stream(route.method, path, body, headers, asked)
    else:
        answer = backend.change(route.method, path, body, headers)
    limit = state.settings.max_line_bytes
    dialect = stream(limit) if stream else route.whole(limit)
    settings = state.managing if route.kind in AUDITED else state.settings
    relay = Relay(settings, record, route.api, dialect, answer, state.streams, state.turnstiles)
    return Streamed(relay, body.after) if isinstance(body, Upload) else Streamed(relay)


def _upstream_path(request: Request, route: Route) -> str:
    """The path as Ollama's router wants it, fit to be sent: a parameter is one segment, whatever is in it.

    Raises NotServed.
    """
    path = route.upstream_path or route.path
    for name, value in request.path_params.items():
        if value in (".", ".."):  # it would be another path, one level up
            raise NotServed("this path does not exist here; see /docs", 404)
        path = re.sub(rf"{{{name}(:path)?}}", quote(value, safe=":"), path)
    # A form's fields could stand there too, and Ollama would take those.
    query: bytes = b"" if route.form else request.scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


def _endpoint(route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def forward(request: Request) -> Response:
        allowed = check_open(request, route.kind)
        state = state_of(request)
        if name := request.path_params.get("model"):
            allowed.check(name, route.not_found)
            await check_model(state, name, route.not_found)
            if "/" in name:
                return await _model_with_a_slash(request, route)
        if route.path in LISTS and (allowed or hides_models(state, route.path)):
            return await _list_of(request, route.path, allowed)
        if route.upload:
            return hand_over(request, route, Upload(request), None, streams=False)
        body, fields = await _read(request, route)
        return await ask(request, route, allowed, body, fields)

    return forward


async def _read(request: Request, route: Route) -> tuple[bytes, Fields]:
    """What goes upstream, and what it says. Raises InvalidRequest, ClientGone."""
    # To a GET a body means nothing; what servers make of one differs.
    has_body = route.method not in ("GET", "HEAD")
    body = await read_body(request) if has_body else b""
    if not route.form:
        return body, await politely(fields_of(body))
    headers = MutableHeaders(scope=request.scope)
    # In a thread, for what ten megabytes take.
    form = await asyncio.to_thread(Form, body, headers.get("content-type", ""))
    body, headers["content-type"] = await asyncio.to_thread(form.written)
    return body, form.fields


async def _list_of(request: Request, path: str, allowed: AllowList) -> Response:
    """Upstream's list without what the caller may not know of."""
    state = state_of(request)
    record_of(request).backend = state.backend.name
    field, name = LISTS[path]
    answer = await state.backend.upstream.get_json(path, LIST_SECONDS)
    items = (answer.get(field) if isinstance(answer, dict) else None) or []
    hidden = await hidden_models(state, path, [str(item[name]) for item in items])
    visible = [item for item in items if str(item[name]) not in hidden and allowed.has(str(item[name]))]
    return JSONResponse({**(answer if isinstance(answer, dict) else {}), field: visible})


async def _model_with_a_slash(request: Request, route: Route) -> Response:
    """`/v1/models/{model}` for a name that Ollama's router cannot match: looked up in the whole list."""
    backend = state_of(request).backend
    name = request.path_params["model"]
    answer = await backend.upstream.get_json("/v1/models", LIST_SECONDS)
    models = answer.get("data") if isinstance(answer, dict) else None
    for model in models or []:
        if full_name(model["id"]) == full_name(name):
            return JSONResponse(model)
    raise not_found(name, route.not_found)


# For the documentation, of what upstream answers.
ANSWERS: dict[int | str, dict[str, Any]] = {
    "2XX": {"description": "As Ollama answers it"},
    "4XX": {"description": "The request is refused, in the words of Ollama or in the same shape"},
    "5XX": {"description": "The model server cannot be reached, failed, or is too busy"},
}


def _parameters(route: Route) -> dict[str, Any]:
    """What FastAPI cannot see, since the endpoints take the request as it is."""
    names = re.findall(r"{(\w+)", route.path)
    schema = {"type": "string", "minLength": 1}
    return {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]
    }


for entry in PASSED_ON:
    router.add_api_route(
        entry.path,
        _endpoint(entry),
        methods=[entry.method],
        response_class=Response,
        responses=ANSWERS,
        openapi_extra=_parameters(entry),
        tags=[entry.api.name],
        name=f"{entry.method} {entry.path}",
        summary=f"{entry.kind}: as Ollama answers it",
    )

answer_heads(router)
