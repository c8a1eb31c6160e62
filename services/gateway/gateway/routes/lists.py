"""Lists of models, of all servers, with their aliases, and without those hidden from the caller."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ..access.allow_list import not_found
from ..ask.route import Route
from ..backends.lists import union
from ..names import full_name
from ..state import record_of, state_of
from .answer import answer
from .table import RECOMMENDATIONS

LIST_SECONDS = 10

MODELS = "/v1/models"

# The field with the list, and the field with each model's name.
LISTS = {
    "/api/tags": ("models", "name"),
    "/api/ps": ("models", "name"),
    MODELS: ("data", "id"),
    RECOMMENDATIONS: ("recommendations", "model"),
}

# Lists that also have the aliases, with the fields that get the alias as the name.
ALIASED = {"/api/tags": ("name", "model"), MODELS: ("id",)}

Item = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]


def listing(route: Route, passthrough: Endpoint) -> Endpoint:
    """Endpoint for a list of models: upstream's answer, changed if models may be hidden or have aliases; with
    several servers the union of theirs.
    """
    field, name = LISTS[route.path]
    is_recommended = route.path == RECOMMENDATIONS

    async def filtered(request: Request) -> Response:
        state = state_of(request)
        caller = state.caller(request, route.kind)
        # Recommendations name models that are not installed, most of them cloud models.
        hides = state.policy.hides_cloud_models() if is_recommended else state.policy.hides_models()
        aliases = dict(state.reader.names.listed(caller.models)) if route.path in ALIASED else {}
        is_union = len(state.pool.backends) > 1 and not is_recommended
        if not (caller.models or hides or aliases or is_union):
            return await passthrough(request)
        answer, items = await _items(request, route.path)
        hidden = await state.policy.hidden([item[name] for item in items]) if hides else set()
        shown = [item for item in items if item[name] not in hidden]
        # An alias hides the model of the same name.
        replaced = set(map(full_name, aliases))
        visible = [
            item for item in shown if caller.models.has(item[name]) and full_name(item[name]) not in replaced
        ]
        return JSONResponse({**answer, field: [*visible, *_named(shown, route.path, aliases)]})

    return filtered


def one_of_list(route: Route) -> Endpoint:
    """Endpoint for `/v1/models/{model}`. With several servers it is looked up in their list, and so is an
    alias, and a name with a slash, which Ollama's router cannot match.
    """

    async def one(request: Request) -> Response:
        name = request.path_params["model"]
        state = state_of(request)
        caller = state.caller(request, route.kind)
        ask = await state.reader.read(request, route, caller)
        if "/" not in name and not ask.targets and len(state.pool.backends) == 1:
            return answer(request, ask)
        await state.policy.check(ask)
        _, items = await _items(request, MODELS)
        for item in [*_named(items, MODELS, ask.targets), *items]:
            if full_name(item["id"]) == full_name(name):
                return JSONResponse(item)
        raise not_found(ask.targets.get(name, name), route.not_found)

    return one


def _named(items: list[Item], path: str, aliases: Mapping[str, str]) -> list[Item]:
    """The models behind aliases, under the aliases' names."""
    by_name = {full_name(item[LISTS[path][1]]): item for item in items}
    return [
        {**by_name[full_name(target)], **dict.fromkeys(ALIASED[path], alias)}
        for alias, target in aliases.items()
        if full_name(target) in by_name
    ]


async def _items(request: Request, path: str) -> tuple[Item, list[Item]]:
    """Upstream's answer, and the items in it that name a model. Raises GatewayError."""
    state = state_of(request)
    field, name = LISTS[path]
    backends = state.pool.backends
    if len(backends) == 1:
        record_of(request).backend = backends[0].name
    if len(backends) == 1 or path == RECOMMENDATIONS:
        answer = await state.pool.get_json(path, LIST_SECONDS)
    else:
        answer = await union(backends, path, field, name, LIST_SECONDS)
    fields = answer if isinstance(answer, dict) else {}
    items = fields.get(field)
    return fields, [
        item
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, dict) and isinstance(item.get(name), str)
    ]
