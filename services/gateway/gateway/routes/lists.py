"""Lists of models, of all servers, without those hidden from the caller."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ..access.allow_list import not_found
from ..ask.reading import read
from ..ask.route import Route
from ..backends.lists import union
from ..names import full_name
from ..state import record_of, state_of
from .table import RECOMMENDATIONS

LIST_SECONDS = 10

# The field with the list, and the field with each model's name.
LISTS = {
    "/api/tags": ("models", "name"),
    "/api/ps": ("models", "name"),
    "/v1/models": ("data", "id"),
    RECOMMENDATIONS: ("recommendations", "model"),
}

Endpoint = Callable[[Request], Awaitable[Response]]


def listing(route: Route, passthrough: Endpoint) -> Endpoint:
    """Endpoint for a list of models: upstream's answer, filtered if any model may be hidden; with several
    servers the union of theirs.
    """
    field, name = LISTS[route.path]
    is_recommended = route.path == RECOMMENDATIONS

    async def filtered(request: Request) -> Response:
        state = state_of(request)
        caller = state.caller(request, route.kind)
        # Recommendations name models that are not installed, most of them cloud models.
        hides = state.policy.hides_cloud_models() if is_recommended else state.policy.hides_models()
        is_union = len(state.pool.backends) > 1 and not is_recommended
        if not (caller.models or hides or is_union):
            return await passthrough(request)
        answer, items = await _items(request, route.path)
        hidden = await state.policy.hidden([item[name] for item in items]) if hides else set()
        visible = [item for item in items if item[name] not in hidden and caller.models.has(item[name])]
        return JSONResponse({**answer, field: visible})

    return filtered


def one_of_list(route: Route, passthrough: Endpoint) -> Endpoint:
    """Endpoint for `/v1/models/{model}`. With several servers it is looked up in their list, and so is a name
    with a slash, which Ollama's router cannot match.
    """

    async def one(request: Request) -> Response:
        name = request.path_params["model"]
        state = state_of(request)
        if "/" not in name and len(state.pool.backends) == 1:
            return await passthrough(request)
        caller = state.caller(request, route.kind)
        await state.policy.check(await read(request, route, caller, state.settings))
        _, items = await _items(request, "/v1/models")
        for item in items:
            if full_name(item["id"]) == full_name(name):
                return JSONResponse(item)
        raise not_found(name, route.not_found)

    return one


async def _items(request: Request, path: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Upstream's answer, and the items in it that name a model. Raises GatewayError."""
    state = state_of(request)
    field, name = LISTS[path]
    if len(state.pool.backends) > 1 and path != RECOMMENDATIONS:
        answer: object = await union(state.pool.backends, path, field, name, LIST_SECONDS)
    else:
        record_of(request).backend = state.pool.backends[0].name
        answer = await state.pool.get_json(path, LIST_SECONDS)
    fields = answer if isinstance(answer, dict) else {}
    items = fields.get(field)
    return fields, [
        item
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict) and isinstance(item.get(name), str)
    ]
