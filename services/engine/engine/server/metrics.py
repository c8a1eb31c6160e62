"""The route /metrics."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from ..api.json_routes import state_of


async def metrics(request: Request) -> Response:
    state = state_of(request)
    gauges = state.metrics
    loaded = state.scheduler.loaded
    busy = await asyncio.gather(*(runner.llama.busy_slots() for runner in loaded), return_exceptions=True)
    # A runner that has just died has no busy slots.
    gauges.busy.set(sum(count for count in busy if isinstance(count, int)))
    gauges.slots.set(len(loaded) * state.settings.slots)
    gauges.waiting.set(state.scheduler.waiting)
    gauges.loaded.set(len(loaded))
    return Response(generate_latest(gauges.registry), media_type=CONTENT_TYPE_LATEST)
