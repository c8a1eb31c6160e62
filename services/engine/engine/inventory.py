"""What there is and what runs: the routes that only report."""

import asyncio
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from . import wire
from .durations import rfc3339
from .errors import BadRequestError
from .exchange import JSON
from .fields import Fields, checked
from .openai import model_object
from .runners import Runner
from .state import State
from .telemetry import PACKAGES

# The Ollama whose behaviour this follows. Clients use it to tell what a server can do.
OLLAMA_VERSION = "0.24.0"

_SHOW: Fields = {"model": "string", "name": "string", "verbose": "bool"}


def answer(value: object) -> Response:
    return Response(wire.dumps(value), media_type=JSON)


async def alive(request: Request) -> Response:
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """Ollama's answer, and beside it what this is made of, for the records of those who run it."""
    about = {**PACKAGES, "threads": _state(request).settings.threads}
    return answer({"version": OLLAMA_VERSION, "engine": about})


async def tags(request: Request) -> Response:
    models = await asyncio.to_thread(_state(request).catalogue.scan)
    return answer({"models": [model.tag() for model in models]})


async def show(request: Request) -> Response:
    raw = wire.loads(await request.body())
    body = checked(raw, _SHOW, "Go value of type api.ShowRequest", "ShowRequest")
    name = body.get("model") or body.get("name", "")
    if not name:
        raise BadRequestError("model is required")
    return answer((await _state(request).catalogue.find(name)).show())


async def running(request: Request) -> Response:
    return answer({"models": [_process(runner) for runner in _state(request).runners.loaded]})


def _process(runner: Runner) -> dict[str, Any]:
    model = runner.model
    return {
        "name": model.name.short,
        "model": model.name.short,
        "size": runner.memory,
        "digest": model.digest,
        "details": model.details,
        "expires_at": rfc3339(int(runner.expires_at * 10**9)),
        "size_vram": 0,
        "context_length": runner.num_ctx,
    }


async def openai_models(request: Request) -> Response:
    models = await asyncio.to_thread(_state(request).catalogue.scan)
    return answer({"object": "list", "data": [model_object(model) for model in models]})


async def openai_model(request: Request) -> Response:
    return answer(model_object(await _state(request).catalogue.find(request.path_params["name"])))


async def metrics(request: Request) -> Response:
    state = _state(request)
    gauges = state.metrics
    loaded = state.runners.loaded
    busy = await asyncio.gather(*(runner.llama.busy_slots() for runner in loaded), return_exceptions=True)
    # A runner that has just died is busy with nothing.
    gauges.busy.set(sum(count for count in busy if isinstance(count, int)))
    gauges.slots.set(len(loaded) * state.settings.slots)
    gauges.waiting.set(state.runners.waiting)
    gauges.loaded.set(len(loaded))
    return Response(generate_latest(gauges.registry), media_type=CONTENT_TYPE_LATEST)


def _state(request: Request) -> State:
    state: State = request.state.engine
    return state
