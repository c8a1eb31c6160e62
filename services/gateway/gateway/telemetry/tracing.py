"""Distributed tracing.

The client's trace context is always propagated to the model server. If an OTLP endpoint is set, the request
also produces spans, and the model server gets our context. Spans are built from the record when the request
has ended, so tracing costs nothing while an answer streams.
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

# Its spans record nothing and carry the client's context.
NO_TRACER = NoOpTracer()
PROPAGATOR = TraceContextTextMapPropagator()
CONTEXT_HEADERS = (b"traceparent", b"tracestate")

# Time limit for pending spans when a worker ends; gunicorn kills it 5 s after its last stream.
FLUSH_SECONDS = 3.0

# The exporter warns about every failed batch and every full queue.
WARNING_SECONDS = 60.0
RATE_LIMITED_LOGGERS = (
    "opentelemetry.exporter.otlp.json.http.trace_exporter",
    "opentelemetry.sdk._shared_internal",
)

# Outcomes that are not errors of the service.
NOT_ERRORS = frozenset({"ok", "rejected", "client_gone"})


class RateLimit(logging.Filter):
    """Passes at most one line per WARNING_SECONDS."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 0.0

    def filter(self, _: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + WARNING_SECONDS
        return True


@asynccontextmanager
async def tracing(settings: Settings) -> AsyncIterator[Tracer]:
    """One worker's tracer; pending spans are exported on exit."""
    # It warns about malformed headers, with which clients could flood the log.
    logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
    if settings.otlp_endpoint is None:
        yield NO_TRACER
        return
    # Imported on demand: they take time and memory. They read the other OTEL_* variables themselves.
    from opentelemetry.exporter.otlp.json.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    rate_limit = RateLimit()
    for name in RATE_LIMITED_LOGGERS:
        logging.getLogger(name).addFilter(rate_limit)
    ours = Resource.create({"service.name": "sluice-gateway", "service.version": __version__})
    # Not the global provider, which would make other libraries trace too.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider.get_tracer("sluice-gateway", __version__)
    finally:
        # A daemon thread, so that an unresponsive collector cannot block the exit.
        flush = Thread(target=provider.shutdown, daemon=True)
        flush.start()
        await asyncio.to_thread(flush.join, FLUSH_SECONDS)


class RequestTrace:
    """One request's part of a trace, from its arrival until `end`.

    `headers` propagate the trace context to the model server.
    """

    def __init__(self, tracer: Tracer, scope: Scope, record: RequestRecord) -> None:
        self.headers: dict[str, str] = {}
        self._record = record
        self._method: str = scope["method"]
        # Probes and scrapes would be most of the traces.
        self._tracer = NO_TRACER if scope["path"] in QUIET_ROUTES else tracer
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
        if record.outcome not in NOT_ERRORS:
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
    """The client's trace context; empty if it is malformed."""
    sent: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if name in CONTEXT_HEADERS:
            sent.setdefault(name.decode(), []).append(value.decode("latin-1"))
    # More than one traceparent is invalid; several tracestate headers are combined in order.
    return PROPAGATOR.extract(sent, Context()) if len(sent.get("traceparent", ())) == 1 else Context()


def _attributes(method: str, record: RequestRecord) -> dict[str, AttributeValue]:
    """Span attributes under OpenTelemetry's names where they exist. No prompts, answers or headers."""
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
