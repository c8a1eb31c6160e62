"""Answers that outlive their connection: `Prefer` on `POST /chat`."""

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from ..answers.keeping import Keeping
from ..answers.kept import Kept
from ..answers.preference import Preference
from ..answers.reading import Accepted, FirstReading
from ..answers.shelf import new_id
from ..ask.ask import Ask
from ..dialects.chat_sse import KeptChatSSE
from ..dialects.stream import Stream
from ..state import record_of, state_of
from ..telemetry.settling import settle
from .answer import relay_of


def keep(request: Request, ask: Ask, preference: Preference) -> Response:
    """The response to `ask` whose answer is kept. Raises as `answer`."""
    settings = state_of(request).settings
    kept = start(request, ask, preference.seconds, lambda _: KeptChatSSE(settings.max_line_bytes))
    location = f"/chat/{kept.id}"
    added = [(b"location", location.encode()), (b"preference-applied", preference.applied)]
    if preference.responds_async:
        return Accepted(kept, 202, added, json.dumps({"id": kept.id, "location": location}).encode())
    return FirstReading(kept, settings.send_timeout, added)


def start(request: Request, ask: Ask, seconds: float, form: Callable[[str], Stream]) -> Kept:
    """Let the answer to `ask` begin, beside the request; `form` makes its dialect from its id. Raises as
    `answer`.
    """
    state, record = state_of(request), record_of(request)
    answer_id = new_id()
    dialect = form(answer_id)
    relay = relay_of(request, ask, state.keeping, dialect)
    kept = state.shelf.begin(answer_id, dialect, ask.caller.identity, record.request_id, seconds)
    destination = Keeping(kept, ask.route.api, record)

    async def work() -> None:
        try:
            await relay.run(destination)
        finally:
            destination.finish()
            record.reads = kept.reads
            settle(request.scope, state.log, state.audit)

    record.outlives_request = True
    kept.stop = relay.stop
    state.shelf.run(kept, work())
    return kept
