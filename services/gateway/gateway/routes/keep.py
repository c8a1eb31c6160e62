"""Answers that outlive their connection: `Prefer` on `POST /chat`."""

import json

import structlog
from starlette.requests import Request
from starlette.responses import Response

from ..answers.keeping import Keeping
from ..answers.kept import Kept
from ..answers.preference import Preference
from ..answers.reading import Accepted, FirstReading
from ..ask.ask import Ask
from ..state import record_of, state_of
from ..telemetry.settling import settle
from .answer import relay_of


def keep(request: Request, ask: Ask, preference: Preference) -> Response:
    """The response to `ask` whose answer is kept. Raises as `answer`."""
    kept = start(request, ask, preference.seconds)
    location = f"/chat/{kept.id}"
    added = [(b"location", location.encode()), (b"preference-applied", preference.applied)]
    if preference.responds_async:
        return Accepted(kept, added, json.dumps({"id": kept.id, "location": location}).encode())
    return FirstReading(kept, state_of(request).settings.send_timeout, added)


def start(request: Request, ask: Ask, seconds: float) -> Kept:
    """Let the answer to `ask` begin, beside the request. Raises as `answer`."""
    state, record = state_of(request), record_of(request)
    relay = relay_of(request, ask, state.keeping)
    kept = state.shelf.begin(ask.caller.identity, seconds)
    destination = Keeping(kept, ask.route.api, record)

    async def work() -> None:
        try:
            await relay.run(destination)
        finally:
            destination.finish()
            record.reads = kept.reads
            settle(request.scope, structlog.get_logger(), state.audit)

    record.outlives_request = True
    kept.stop = relay.stop
    state.shelf.run(kept, work())
    return kept
