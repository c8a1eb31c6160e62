"""The record of a request: source of its log line, audit line and metrics."""

import time
from dataclasses import dataclass, field

from prometheus_client import Gauge
from structlog.typing import FilteringBoundLogger

from ..errors import Outcome
from . import metrics
from .audit import Audit
from .metrics import Gaps, child

# Probes and scrapes arrive every few seconds; the cause of a failing one is logged separately.
QUIET_ROUTES = frozenset({"/health", "/healthz", "/readyz", "/metrics"})

COLD_SECONDS = 0.1
"""Longer loads count as cold. Ollama also reports a `load_duration` for a model in memory: the lookup takes a
few milliseconds, tens on a busy machine. Loading even the smallest model takes hundreds."""


@dataclass(slots=True)
class RequestRecord:
    """Everything that is recorded about one request."""

    request_id: str
    client: str
    started: float = field(default_factory=time.perf_counter)
    route: str = "unmatched"
    status: int = 0
    outcome: Outcome | None = None
    # The name of the caller's key, never the key.
    key: str | None = None
    # Whether metrics count the request by this name.
    counts_key: bool = False
    # The action for the audit log, None if the request is not audited.
    audited: str | None = None
    audited_models: list[str] = field(default_factory=list)
    model: str | None = None
    # The name by which the model was requested, if it is an alias.
    alias: str | None = None
    # The model as a label: one that the backend has, else "other", so that clients cannot create new series.
    model_label: str = "other"
    backend: str | None = None
    # OpenTelemetry's operation name; None if the request is not for a model's answer.
    operation: str | None = None
    streams: bool = False
    # Whether the model was in memory at the last poll before the request.
    was_loaded: bool = False
    first_chunk_after: float | None = None
    chunks: int = 0
    # Whether the answer took too long and was ended by the gateway.
    cut: bool = False
    gaps: Gaps = field(default_factory=Gaps)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    # Seconds reported by upstream at the end of an answer: total, load, prompt, generation.
    upstream_seconds: dict[str, float] = field(default_factory=dict)
    trace_id: str | None = None
    # Whether it is settled when the answer has ended, and not with the request.
    outlives_request: bool = False
    # How often the answer was read, if it is one that can be read again.
    reads: int = 0
    asked_after: float | None = None
    # How often it was sent to a model server.
    attempts: int = 0
    # Whom the request is counted for, and the time it waited for a slot; None if it needs none.
    caller: str | None = None
    queue_seconds: float | None = None
    # The time it waited for its model to be loaded.
    load_seconds: float = 0
    _asks: tuple[str | None, bool] = (None, False)
    _in_flight: Gauge | None = None

    def asks(self, operation: str | None, streams: bool) -> None:
        """Set what the request is for, if it is accepted. `operation` is None for anything but a model's
        answer: a pull may take an hour and has no tokens.
        """
        self._asks = operation, streams

    def accepted(self) -> None:
        """The request has passed the access checks."""
        self.operation, self.streams = self._asks
        if self.operation:
            self._in_flight = child(metrics.IN_FLIGHT, "stream" if self.streams else "whole")
            self._in_flight.inc()

    def answered(self, outcome: Outcome) -> None:
        """The answer has ended."""
        self.outcome = outcome
        if self._in_flight:
            self._in_flight.dec()

    def used(self, prompt_tokens: int, output_tokens: int, seconds: dict[str, float]) -> None:
        """Set the usage that upstream reported at the end of the answer."""
        self.prompt_tokens, self.output_tokens, self.upstream_seconds = prompt_tokens, output_tokens, seconds

    def loaded(self, backend: str, seconds: float) -> None:
        """The request has waited for the backend to load its model."""
        self.backend = backend
        self.load_seconds += seconds

    def asked(self, backend: str) -> None:
        """The request is about to be sent upstream, perhaps not for the first time."""
        self.backend = backend
        self.asked_after = time.perf_counter() - self.started
        self.attempts += 1
        if self.operation and self.attempts == 1:
            waited = (self.queue_seconds or 0) + self.load_seconds
            child(metrics.OVERHEAD, "request").observe(self.asked_after - waited)

    def first_chunk(self) -> None:
        self.first_chunk_after = time.perf_counter() - self.started

    def first_chunk_sent(self, seconds: float) -> None:
        """The first chunk has been sent, `seconds` after it arrived."""
        if self.operation:
            child(metrics.OVERHEAD, "first_byte").observe(seconds)

    def count_chunks(self, chunks: int) -> None:
        """Update the number of chunks sent so far; called periodically."""
        if self.operation and chunks > self.chunks:
            child(metrics.CHUNKS, self.model_label).inc(chunks - self.chunks)
        self.chunks = chunks
        self.gaps.count()

    def settle(self, log: FilteringBoundLogger, audit: Audit) -> None:
        """Log, audit and count the request; called exactly once."""
        duration = time.perf_counter() - self.started
        self.outcome = self.outcome or ("ok" if self.status < 400 else "rejected")
        if self.audited:
            self._audit(audit)
        self._log(log, duration)
        child(metrics.REQUESTS, self.route, self.model_label, self.outcome, self.status).inc()
        if self.counts_key and self._asks[0]:
            # Refused ones too, which have no operation.
            child(metrics.KEY_REQUESTS, self.key, self.model_label, self.outcome).inc()
        if self.operation:
            child(metrics.DURATION, self.operation, self.model_label, self.outcome).observe(duration)
            self._count_tokens(self.operation)
            if self.cut:
                child(metrics.ANSWERS_CUT, self.model_label).inc()
            self._observe_times(self.operation)

    def _audit(self, audit: Audit) -> None:
        audit.write(
            request_id=self.request_id,
            key=self.key,
            client=self.client,
            what=self.audited,
            models=self.audited_models,
            backend=self.backend,
            outcome=self.outcome,
            status=self.status,
        )

    def _log(self, log: FilteringBoundLogger, duration: float) -> None:
        line = {
            "request_id": self.request_id,
            "route": self.route,
            "model": self.model,
            "backend": self.backend,
            "outcome": self.outcome,
            "status": self.status,
            "ttft_seconds": _rounded(self.first_chunk_after),
            "duration_seconds": _rounded(duration),
            "chunks": self.chunks,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "client": self.client,
        }
        if self.alias:
            line["alias"] = self.alias
        if self._asks[0]:
            line["caller"] = self.caller
        if self.queue_seconds is not None:
            line["queue_seconds"] = _rounded(self.queue_seconds)
        if self.load_seconds:
            line["load_seconds"] = _rounded(self.load_seconds)
        if self.attempts > 1:
            line["attempts"] = self.attempts
        if self.cut:
            line["cut"] = True
        if self.outlives_request:
            line["reads"] = self.reads
        if self.key:
            line["key"] = self.key
        if self.trace_id:
            line["trace_id"] = self.trace_id
        if self.route in QUIET_ROUTES and self.status != 500:
            log.debug("request", **line)
        else:
            log.info("request", **line)

    def _count_tokens(self, operation: str) -> None:
        reported = {"input": self.prompt_tokens, "output": self.output_tokens}
        for kind, tokens in reported.items():
            if tokens is not None:
                child(metrics.TOKEN_USAGE, operation, self.model_label, kind).observe(tokens)
                child(metrics.TOKENS_TOTAL, self.model_label, kind, "reported").inc(tokens)
                self._count_key_tokens(kind, tokens)
        if self.output_tokens is None and self.chunks:
            child(metrics.TOKENS_TOTAL, self.model_label, "output", "counted").inc(self.chunks)
            self._count_key_tokens("output", self.chunks)

    def _count_key_tokens(self, kind: str, tokens: int) -> None:
        if self.counts_key:
            child(metrics.KEY_TOKENS, self.key, self.model_label, kind).inc(tokens)

    def _observe_times(self, operation: str) -> None:
        if self.streams and self.first_chunk_after is not None:
            load = "cold" if self._was_cold() else "warm"
            child(metrics.TIME_TO_FIRST_CHUNK, operation, self.model_label, load).observe(
                self.first_chunk_after
            )
            self.gaps.flush(child(metrics.TIME_PER_OUTPUT_CHUNK, operation, self.model_label))
        for phase, seconds in self._phases().items():
            child(metrics.UPSTREAM_PHASE, self.model_label, phase).observe(seconds)

    def _phases(self) -> dict[str, float]:
        reported = self.upstream_seconds
        if not reported.get("prompt") and not reported.get("generation"):
            # For embeddings Ollama reports only the load; the rest is work, not waiting.
            return {"load": reported["load"]} if "load" in reported else {}
        phases = {phase: reported.get(phase, 0) for phase in ("load", "prompt", "generation")}
        return {**phases, "waiting": max(0, reported.get("total", 0) - sum(phases.values()))}

    def _was_cold(self) -> bool:
        """Upstream's report counts a load that the request itself caused; Ollama's own API has it in its last
        line. Without it and without a wait for a load, the last poll counts.
        """
        if self.upstream_seconds or self.load_seconds:
            return self.load_seconds + self.upstream_seconds.get("load", 0) > COLD_SECONDS
        return not self.was_loaded


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
