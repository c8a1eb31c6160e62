"""Hands what is asked over to the streaming core."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.fields import MAX_MODEL_NAME
from ..ask.request_body import Upload
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..state import State, record_of, state_of
from ..streaming.generation import Answer, Generation, Waiting
from ..streaming.relay import Relay
from ..telemetry.record import RequestRecord

# Where the worker puts the client's connection: ASGI's name for what servers offer beyond it.
CONNECTION = "sluice.connection"


class Relayed(Response):
    """Everything that may wait happens once this is called: from then on the client is watched."""

    def __init__(self, relay: Relay, receive: Callable[[Receive], Receive]) -> None:
        super().__init__()
        self._relay = relay
        self._receive = receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(CONNECTION)
        await self._relay.run(self._receive(receive), send, connection)


def answer(request: Request, ask: Ask) -> Relayed:
    """Raises InvalidRequest where a model's name is none."""
    state, record = state_of(request), record_of(request)
    _note(state, record, ask)

    @asynccontextmanager
    async def source(waiting: Waiting) -> AsyncIterator[Answer]:
        await state.policy.check(ask)
        record.accepted(ask.route.operation, ask.streams)
        async with state.admission.turn(ask, waiting), state.pool.answer(ask, waiting) as answer:
            yield answer

    generation = Generation(_dialect(state, ask), record, source, state.turnstiles)
    settings = state.managing if ask.route.kind in AUDITED else state.settings
    relay = Relay(settings, record, ask.route.api, generation, state.generations, state.turnstiles)
    return Relayed(relay, ask.body.after if isinstance(ask.body, Upload) else lambda receive: receive)


def _dialect(state: State, ask: Ask) -> Stream | Whole:
    limit = state.settings.max_line_bytes
    stream = ask.route.stream if ask.streams else None
    return stream(limit) if stream else ask.route.whole(limit)


def _note(state: State, record: RequestRecord, ask: Ask) -> None:
    """What log and metrics will say of it, also if it is refused."""
    if ask.model is not None:
        record.model = ask.model[:MAX_MODEL_NAME]
        record.model_label = state.pool.label(ask.model)
        record.was_loaded = state.pool.has_loaded(ask.model)
    if ask.route.kind in AUDITED:
        record.audited_models = list(ask.fields.models())
