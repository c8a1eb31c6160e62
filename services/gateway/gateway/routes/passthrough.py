"""Every path of Ollama's that goes upstream as it is: identify, read, hand over."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from ..ask.reading import read
from ..ask.route import Route
from ..state import state_of
from .answer import answer
from .heads import answer_heads
from .lists import LISTS, listing, one_of_list
from .table import PASSED_ON

router = APIRouter()

Endpoint = Callable[[Request], Awaitable[Response]]


def passing(route: Route) -> Endpoint:
    async def passthrough(request: Request) -> Response:
        state = state_of(request)
        caller = state.caller(request, route.kind)
        return answer(request, await read(request, route, caller, state.settings.max_body_bytes))

    return passthrough


def endpoint(route: Route) -> Endpoint:
    if route.path in LISTS:
        return listing(route, passing(route))
    return one_of_list(route, passing(route)) if "{model" in route.path else passing(route)


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
        endpoint(entry),
        methods=[entry.method],
        response_class=Response,
        responses=ANSWERS,
        openapi_extra=_parameters(entry),
        tags=[entry.api.name],
        name=f"{entry.method} {entry.path}",
        summary=f"{entry.kind}: as Ollama answers it",
    )

answer_heads(router)
