"""The routes that report on the engine and its models: version, list, details, what is loaded."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from ...errors import BadRequestError, ModelNotFoundError
from ...inference.runner import Runner
from ...models.catalogue import Catalogue
from ...models.model import Model
from ...models.names import parse_name
from ...telemetry.metrics import VERSIONS
from ..gojson.structs import Fields, checked
from ..json_routes import json_body, json_response, state_of
from ..timing import rfc3339

# The Ollama whose behaviour the engine follows. Clients use it to find out what a server can do.
OLLAMA_VERSION = "0.32.15"

_SHOW: Fields = {"model": "string", "name": "string", "verbose": "bool", "options": "map[string]interface {}"}


async def root(request: Request) -> Response:
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """Ollama's answer, plus what this server really is."""
    threads = state_of(request).settings.threads
    engine = {"modelled_on": f"Ollama {OLLAMA_VERSION}", **VERSIONS, "threads": threads}
    return json_response({"version": OLLAMA_VERSION, "engine": engine})


async def tags(request: Request) -> Response:
    models = await asyncio.to_thread(state_of(request).catalogue.scan)
    return json_response({"models": [_list_entry(model) for model in models]})


async def show(request: Request) -> Response:
    body = checked(await json_body(request), _SHOW, "Go value of type api.ShowRequest", "ShowRequest")
    name = body.get("model") or body.get("name", "")
    if not name:
        raise BadRequestError("model is required")
    return json_response(_description(await find_to_report(state_of(request).catalogue, name)))


async def ps(request: Request) -> Response:
    """As Ollama's, and how much the engine does at once, so that a gateway sends no more."""
    state = state_of(request)
    limits = {"slots": state.settings.slots, "max_loaded_models": state.settings.max_loaded_models}
    return json_response({"models": [_process(runner) for runner in state.scheduler.loaded], **limits})


async def find_to_report(catalogue: Catalogue, text: str) -> Model:
    try:
        return await catalogue.find(text)
    except ModelNotFoundError:
        # Where nothing is generated, Ollama's error has the name as /api/tags would list it.
        name = parse_name(text)
        assert name
        raise ModelNotFoundError(name.short) from None


def _details(model: Model) -> dict[str, Any]:
    family = model.header.architecture
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.header.file_type,
    }


def _list_entry(model: Model) -> dict[str, Any]:
    number = model.header.architecture_number
    return {
        "name": model.name.short,
        "model": model.name.short,
        "modified_at": rfc3339(model.modified_ns),
        "size": model.size,
        "digest": model.digest,
        "details": {
            **_details(model),
            "context_length": number("context_length"),
            "embedding_length": number("embedding_length"),
        },
        "capabilities": model.capabilities,
    }


def _description(model: Model) -> dict[str, Any]:
    header = model.header
    info = {k: v for k, v in header.metadata.items() if k != "tokenizer.chat_template"}
    info["general.parameter_count"] = header.parameter_count
    return {
        "modelfile": f"FROM {model.path.name}\n",
        "template": model.template,
        "details": _details(model),
        "model_info": dict(sorted(info.items())),
        "tensors": [{"name": t.name, "type": t.type, "shape": t.shape} for t in header.tensors],
        "capabilities": model.capabilities,
        "modified_at": rfc3339(model.modified_ns),
    }


def _process(runner: Runner) -> dict[str, Any]:
    model = runner.model
    return {
        "name": model.name.short,
        "model": model.name.short,
        "size": runner.memory,
        "digest": model.digest,
        "details": _details(model),
        "expires_at": rfc3339(int(runner.expires_at * 10**9)),
        "size_vram": 0,
        "context_length": runner.num_ctx,
    }
