"""The record of a request, which feeds its log line and the metrics."""

import time
from dataclasses import dataclass, field

from prometheus_client import Gauge
from structlog.typing import FilteringBoundLogger

from ..errors import Outcome
from . import metrics
from .audit import Audit
from .metrics import Gaps, child

# Probes and scrapes come every few seconds; what makes them fail has a line of its own.
QUIET_ROUTES = frozenset({"/health", "/healthz", "/readyz", "/metrics"})

COLD_SECONDS = 0.1
"""A load that took longer was one. Ollama gives a `load_duration` for a model in memory too: what it takes
to look that up, a few milliseconds, tens where the machine is busy. Reading the smallest of models takes
hundreds, even from the page cache."""


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request; whoever learns a thing writes it here."""

    request_id: str
    client: str
    started: float = field(default_factory=time.perf_counter)
    route: str = "unmatched"
    status: int = 0
    outcome: Outcome | None = None
    # The name of the caller's key, never the key.
    key: str | None = None
    # What is asked of those things that are written down for good.
    audited: str | None = None
    audited_models: list[str] = field(default_factory=list)
    model: str | None = None
    # The model as a label: a model that the backend has, else "other", so that users cannot make new series.
    model_label: str = "other"
    backend: str | None = None
    # OpenTelemetry's name for what a model does; None if the request is not for a model's answer.
    operation: str | None = None
    streams: bool = False
    # Whether the model was in memory when the request came, as far as was known.
    was_loaded: bool = False
    first_chunk_after: float | None = None
    chunks: int = 0
    gaps: Gaps = field(default_factory=Gaps)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    # Seconds, as upstream gives them at the end of an answer: total, load, prompt, generation.
    upstream_seconds: dict[str, float] = field(default_factory=dict)
    trace_id: str | None = None
    asked_after: float | None = None
    _asks: tuple[str | None, bool] = (None, False)
    _in_flight: Gauge | None = None

    def asks(self, operation: str | None, streams: bool) -> None:
        """What it is for, if it is accepted. `operation` is None if it is not for a model's answer: a pull
        may take an hour without a token, and nobody waits for those.
        """
        self._asks = operation, streams

    def accepted(self) -> None:
        """The caller may ask this."""
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
        """As upstream reports it at the end of an answer."""
        self.prompt_tokens, self.output_tokens, self.upstream_seconds = prompt_tokens, output_tokens, seconds

    def asked(self, backend: str) -> None:
        """Upstream is about to be asked."""
        self.backend = backend
        self.asked_after = time.perf_counter() - self.started
        if self.operation:
            child(metrics.OVERHEAD, "request").observe(self.asked_after)

    def first_chunk(self) -> None:
        self.first_chunk_after = time.perf_counter() - self.started

    def first_chunk_sent(self, seconds: float) -> None:
        """The first chunk is out, `seconds` after it came."""
        if self.operation:
            child(metrics.OVERHEAD, "first_byte").observe(seconds)

    def count_chunks(self, chunks: int) -> None:
        """`chunks` have been sent until now; called now and then."""
        if self.operation and chunks > self.chunks:
            child(metrics.CHUNKS, self.model_label).inc(chunks - self.chunks)
        self.chunks = chunks
        self.gaps.count()

    def settle(self, log: FilteringBoundLogger, audit: Audit) -> None:
        """Writes down and counts the request; called once, whatever has happened."""
        duration = time.perf_counter() - self.started
        self.outcome = self.outcome or ("ok" if self.status < 400 else "rejected")
        if self.audited:
            self._audit(audit)
        self._log(log, duration)
        child(metrics.REQUESTS, self.route, self.model_label, self.outcome, self.status).inc()
        if self.operation:
            child(metrics.DURATION, self.operation, self.model_label, self.outcome).observe(duration)
            self._count_tokens(self.operation)
            self._observe_times(self.operation)

    def _audit(self, audit: Audit) -> None:
        audit.write(
            request_id=self.request_id,
            key=self.key,
            client=self.client,
            what=self.audited,
            models=self.audited_models,
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
        if self.output_tokens is None and self.chunks:
            child(metrics.TOKENS_TOTAL, self.model_label, "output", "counted").inc(self.chunks)

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
        said = self.upstream_seconds
        if not said.get("prompt") and not said.get("generation"):
            # Of an embedding Ollama tells no more; the rest is work, not waiting.
            return {"load": said["load"]} if "load" in said else {}
        phases = {phase: said.get(phase, 0) for phase in ("load", "prompt", "generation")}
        return {**phases, "waiting": max(0, said.get("total", 0) - sum(phases.values()))}

    def _was_cold(self) -> bool:
        """Known for certain only from the last line of Ollama's own APIs."""
        if self.upstream_seconds:
            return self.upstream_seconds.get("load", 0) > COLD_SECONDS
        return not self.was_loaded


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
