"""Where a request's time went, for those who collect traces.

The client's trace context goes on to the model server, always. Where an OTLP endpoint is set, the request
also becomes spans, and the model server gets the context of ours. They are put together when the request has
ended, from what its record knows by then: the stream itself does nothing for them.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.trace import (
    NoOpTracer,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from .. import __version__
from ..settings import Settings
from .record import QUIET_ROUTES, RequestRecord

# Without an SDK it makes spans that record nothing and stand for the client's own context.
SILENT = NoOpTracer()
PROPAGATOR = TraceContextTextMapPropagator()
CONTEXT_HEADERS = (b"traceparent", b"tracestate")

# For the spans that wait when a worker ends; gunicorn kills it 5 s after its last stream.
FLUSH_SECONDS = 3.0

# The exporter complains of every batch, and every full queue.
COMPLAINT_SECONDS = 60.0
COMPLAINERS = (
    "opentelemetry.exporter.otlp.json.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)

# Ways to end that are no fault of the service.
NOT_OURS = frozenset({"ok", "rejected", "client_gone"})


class Seldom(logging.Filter):
    """Lets a line pass once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, _: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + COMPLAINT_SECONDS
        return True


@asynccontextmanager
async def tracing(settings: Settings) -> AsyncIterator[Tracer]:
    """One worker's tracer; what it has not exported yet when the worker ends is exported then."""
    # Its warnings are about clients' headers: whoever sends them could fill the log.
    logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
    if settings.otlp_endpoint is None:
        yield SILENT
        return
    # Only here, because loading them takes time and memory. They read the rest of OTEL_* themselves.
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    seldom = Seldom()
    for name in COMPLAINERS:
        logging.getLogger(name).addFilter(seldom)
    ours = Resource.create({"service.name": "sluice-gateway", "service.version": __version__})
    # Not the global one, which would make other libraries trace too.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("sluice-gateway", __version__)
    finally:
        # A daemon, so that a collector that does not answer cannot keep the process.
        last_words = Thread(target=provider.shutdown, daemon=True)
        last_words.start()
        await asyncio.to_thread(last_words.join, FLUSH_SECONDS)


class RequestTrace:
    """One request's part of a trace, from its arrival until `end`.

    `headers` tell the model server of which trace its part is.
    """

    def __init__(self, tracer: Tracer, scope: Scope, record: RequestRecord) -> None:
        self.headers: dict[str, str] = {}
        self._record = record
        self._method: str = scope["method"]
        # Probes and scrapes would be most of what is collected.
        self._tracer = SILENT if scope["path"] in QUIET_ROUTES else tracer
        self._arrived = time.time_ns()
        self._span = self._tracer.start_span(
            self._method, _sent_context(scope), SpanKind.SERVER, start_time=self._arrived
        )
        context = self._span.get_span_context()
        if context.is_valid:
            record.trace_id = format_trace_id(context.trace_id)
            PROPAGATOR.inject(self.headers, set_span_in_context(self._span, Context()))

    def end(self) -> None:
        """Called when the record is settled."""
        if not self._span.is_recording():
            return
        record, end = self._record, time.time_ns()
        self._span.update_name(f"{self._method} {record.route}")
        self._span.set_attributes(_attributes(self._method, record))
        if record.outcome not in NOT_OURS:
            self._span.set_status(Status(StatusCode.ERROR))
        if record.asked_after is not None:
            first = self._at(record.first_chunk_after)
            self._child("upstream wait", self._at(record.asked_after), first or end)
            if first:
                self._child("stream", first, end)
        self._span.end(end)

    def _at(self, after: float | None) -> int | None:
        return None if after is None else self._arrived + int(after * 1e9)

    def _child(self, name: str, start: int | None, end: int) -> None:
        self._tracer.start_span(name, set_span_in_context(self._span, Context()), start_time=start).end(end)


def _sent_context(scope: Scope) -> Context:
    """What the client sent; empty if that is not well-formed."""
    sent: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if name in CONTEXT_HEADERS:
            sent.setdefault(name.decode(), []).append(value.decode("latin-1"))
    # Two parents are as good as none; several states are one, in their order.
    return PROPAGATOR.extract(sent, Context()) if len(sent.get("traceparent", ())) == 1 else Context()


def _attributes(method: str, record: RequestRecord) -> dict[str, AttributeValue]:
    """In OpenTelemetry's names, where it has one. Nothing of what was said, and no header."""
    known = {
        "http.request.method": method,
        "http.route": record.route,
        "http.response.status_code": record.status or None,
        "error.type": None if record.outcome == "ok" else record.outcome,
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": record.operation and "ollama",
        "gen_ai.request.model": record.model,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.output_tokens,
        "gateway.request_id": record.request_id,
        "gateway.outcome": record.outcome,
        "gateway.backend": record.backend,
        "gateway.chunks": record.chunks,
    }
    return {name: value for name, value in known.items() if value is not None}
