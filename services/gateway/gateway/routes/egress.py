"""Whether a request may go upstream with what it says: nothing leaves that should not."""

from collections.abc import Collection

from ..access.allow_list import not_found
from ..access.egress import remote
from ..ask.fields import Fields, politely
from ..names import is_in_cloud, meant_by
from ..state import State
from .table import RECOMMENDATIONS, Route

# Where Ollama takes a tool of its own for what it does itself.
SEARCHING = frozenset({"/v1/messages", "/v1/responses"})


async def check_egress(state: State, route: Route, fields: Fields) -> None:
    """Raises Forbidden, InvalidRequest, ModelNotFound, and what a look at the model server fails with."""
    if route.kind == "admin":
        await _check_managing(state, route, fields)
        return
    if route.path in SEARCHING:
        await politely(state.egress.check_tools(fields))
    for model in fields.models(route.naming):
        # As it is listed nearly every client says it; then there is nothing to be resolved.
        if model not in state.backend.local:
            await check_model(state, model, route.not_found)


async def _check_managing(state: State, route: Route, fields: Fields) -> None:
    match route.path:
        case "/api/pull":
            state.egress.check_pull(fields)
        case "/api/push":
            state.egress.check_push(fields)
        case "/api/create":
            state.egress.check_create(fields)
            for model in fields.models(("from",)):
                await _check_source(state, model)
        case "/api/copy":
            for model in fields.models(("source",)):
                await check_model(state, model, route.not_found)


async def check_model(state: State, model: str, words: str) -> None:
    """That it is one of the model server's own. What it does not know is not asked of it: it may know it by
    then, as a reference to another host. Raises what `check_egress` does.
    """
    if state.egress.cloud_allowed:
        return
    state.egress.check_name(model)
    where = await state.backend.where(model)
    if where == "elsewhere":
        raise remote(model)
    if where is None:
        raise not_found(model, words)


async def hidden_models(state: State, path: str, models: Collection[str]) -> set[str]:
    """Those in the list at `path` that are not to be in it. Raises GatewayError."""
    backend = state.backend
    if not hides_models(state, path):
        return set()
    if not all(backend.has(model) for model in models):
        await backend.look()
    return {model for model in models if is_in_cloud(model) or meant_by(model) in backend.remote}


def hides_models(state: State, path: str) -> bool:
    return (bool(state.backend.remote) or path == RECOMMENDATIONS) and not state.egress.cloud_allowed


async def _check_source(state: State, model: str) -> None:
    """A model to make another one from: what is not there, Ollama pulls."""
    state.egress.check_name(model)
    where = await state.backend.where(model)
    if where == "elsewhere" and not state.egress.cloud_allowed:
        raise remote(model)
    if where is None:
        state.egress.check_source(model)
