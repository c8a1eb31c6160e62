"""Ollama's paths that are forwarded unchanged: identify the caller, read the body, hand over."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from ..access.roles import AUDITED
from ..ask.route import Route
from ..backends.managing import FOR_ALL
from ..state import state_of
from .answer import answer
from .heads import answer_heads
from .lists import LISTS, listing, one_of_list
from .responses import create
from .table import PASSED_ON, RESPONSES_ROUTE

router = APIRouter()

Endpoint = Callable[[Request], Awaitable[Response]]


def forward(route: Route) -> Endpoint:
    async def passthrough(request: Request) -> Response:
        state = state_of(request)
        caller = state.caller(request, route.kind)
        return answer(request, await state.reader.read(request, route, caller))

    return passthrough


def endpoint(route: Route) -> Endpoint:
    if route is RESPONSES_ROUTE:
        return create
    if route.path in LISTS:
        return listing(route, forward(route))
    return one_of_list(route) if "{model" in route.path else forward(route)


# Descriptions of upstream's answers for the OpenAPI document.
ANSWERS: dict[int | str, dict[str, Any]] = {
    "2XX": {"description": "Ollama's answer"},
    "4XX": {"description": "Refused by Ollama, or by the gateway with an error of the same shape"},
    "5XX": {"description": "The model server is unreachable, failed or is too busy"},
}


X_BACKEND = "the name of the model server that is meant; required if there are several"
X_BACKEND_FOR_ALL = "the name of a model server; without it, the request is for all of them"


def _parameters(route: Route) -> dict[str, Any]:
    """Parameters for the OpenAPI document; FastAPI cannot derive them from the endpoints' signatures."""
    names = re.findall(r"{(\w+)", route.path)
    schema = {"type": "string", "minLength": 1}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": schema} for name in names
    ]
    if route.kind in AUDITED:
        meaning = X_BACKEND_FOR_ALL if route.path in FOR_ALL else X_BACKEND
        header = {"name": "X-Backend", "in": "header", "schema": schema, "description": meaning}
        parameters.append(header)
    return {"parameters": parameters}


for entry in PASSED_ON:
    router.add_api_route(
        entry.path,
        endpoint(entry),
        methods=[entry.method],
        response_class=Response,
        responses=ANSWERS,
        openapi_extra=_parameters(entry),
        tags=[entry.api.name],
        name=f"{entry.method} {entry.path}",
        summary=f"{entry.kind}: same as Ollama",
    )

answer_heads(router)
