"""The routes /v1/models and /v1/models/{name}."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...models.model import Model
from ..json_routes import json_response, state_of
from ..ollama.models import find_to_report


async def list_models(request: Request) -> Response:
    models = await asyncio.to_thread(state_of(request).catalogue.scan)
    return json_response({"object": "list", "data": [_model(model) for model in models]})


async def show_model(request: Request) -> Response:
    name = request.path_params["name"]
    return json_response(_model(await find_to_report(state_of(request).catalogue, name)))


def _model(model: Model) -> dict[str, Any]:
    created = model.modified_ns // 10**9
    return {"id": model.name.short, "object": "model", "created": created, "owned_by": model.name.namespace}
