"""Hands a request over to the streaming core."""

from functools import partial

from starlette.requests import Request

from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.fields import MAX_MODEL_NAME
from ..ask.request_body import Upload
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..settings import Settings
from ..state import State, record_of, state_of
from ..streaming.generation import Generation
from ..streaming.relay import Relay
from ..streaming.response import Relayed
from ..telemetry.record import RequestRecord


def answer(request: Request, ask: Ask) -> Relayed:
    """The streaming response to `ask`. Raises InvalidRequest for an invalid model name."""
    state = state_of(request)
    settings = state.managing if ask.route.kind in AUDITED else state.settings
    relay = relay_of(request, ask, settings, _dialect(state, ask))
    return Relayed(relay, ask.body.after) if isinstance(ask.body, Upload) else Relayed(relay)


def relay_of(request: Request, ask: Ask, settings: Settings, dialect: Stream | Whole) -> Relay:
    """What relays the answer to wherever it goes. Raises as `answer`."""
    state, record = state_of(request), record_of(request)
    _record(state, record, ask)

    source = partial(state.admission.answer, ask)
    generation = Generation(dialect, record, source, state.turnstiles)
    return Relay(settings, record, ask.route.api, generation, state.generations, state.turnstiles)


def _dialect(state: State, ask: Ask) -> Stream | Whole:
    limit = state.settings.max_line_bytes
    stream = ask.route.stream if ask.streams else None
    return stream(limit) if stream else ask.route.whole(limit)


def _record(state: State, record: RequestRecord, ask: Ask) -> None:
    """Fill in the record for log and metrics, so that refused requests are labelled too."""
    if ask.model is not None:
        record.model = ask.model[:MAX_MODEL_NAME]
        record.alias = ask.alias
        record.model_label = state.pool.label(ask.model)
        record.was_loaded = state.pool.has_loaded(ask.model)
    if ask.route.kind in AUDITED:
        record.audited_models = list(ask.fields.models())
    record.caller = ask.caller.identity
    record.asks(ask.route.operation, ask.streams)
