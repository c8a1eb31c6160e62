"""What there is and what runs: the routes that only report."""

import asyncio
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from . import bounds, wire
from .catalogue import Model
from .decoding import decoded
from .durations import rfc3339
from .errors import BadRequestError, ModelNotFoundError
from .exchange import JSON
from .fields import Fields, checked
from .names import parse_name
from .openai import model_object
from .runners import Runner
from .state import State
from .telemetry import PACKAGES

# The Ollama whose behaviour this follows. Clients use it to tell what a server can do.
OLLAMA_VERSION = "0.32.15"

_SHOW: Fields = {"model": "string", "name": "string", "verbose": "bool", "options": "map[string]interface {}"}


def answer(value: object) -> Response:
    return Response(wire.dumps(value), media_type=JSON)


async def alive(request: Request) -> Response:
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """Ollama's answer, and beside it what this really is, for the records of those who run it."""
    threads = state_of(request).settings.threads
    about = {"modelled_on": f"Ollama {OLLAMA_VERSION}", **PACKAGES, "threads": threads}
    return answer({"version": OLLAMA_VERSION, "engine": about})


async def tags(request: Request) -> Response:
    models = await asyncio.to_thread(state_of(request).catalogue.scan)
    return answer({"models": [model.tag() for model in models]})


async def show(request: Request) -> Response:
    body = checked(await body_of(request), _SHOW, "Go value of type api.ShowRequest", "ShowRequest")
    name = body.get("model") or body.get("name", "")
    if not name:
        raise BadRequestError("model is required")
    return answer((await _shown(request, name)).show())


async def body_of(request: Request) -> Any:
    """The body of a request, decoded."""
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        bounds.check_bytes(sum(map(len, parts)))
    return await decoded(request.headers, b"".join(parts))


async def _shown(request: Request, text: str) -> Model:
    try:
        return await state_of(request).catalogue.find(text)
    except ModelNotFoundError:
        # Where it is not about generating, Ollama says the name as it would list it.
        name = parse_name(text)
        assert name
        raise ModelNotFoundError(name.short) from None


async def running(request: Request) -> Response:
    return answer({"models": [_process(runner) for runner in state_of(request).runners.loaded]})


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
    models = await asyncio.to_thread(state_of(request).catalogue.scan)
    return answer({"object": "list", "data": [model_object(model) for model in models]})


async def openai_model(request: Request) -> Response:
    return answer(model_object(await _shown(request, request.path_params["name"])))


async def metrics(request: Request) -> Response:
    state = state_of(request)
    gauges = state.metrics
    loaded = state.runners.loaded
    busy = await asyncio.gather(*(runner.llama.busy_slots() for runner in loaded), return_exceptions=True)
    # A runner that has just died is busy with nothing.
    gauges.busy.set(sum(count for count in busy if isinstance(count, int)))
    gauges.slots.set(len(loaded) * state.settings.slots)
    gauges.waiting.set(state.runners.waiting)
    gauges.loaded.set(len(loaded))
    return Response(generate_latest(gauges.registry), media_type=CONTENT_TYPE_LATEST)


def state_of(request: Request) -> State:
    state: State = request.state.engine
    return state
