"""Logging set-up, every metric object, and the record of a request that feeds both."""

import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from .errors import Outcome
from .settings import Settings

# A second series for each one, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

REQUESTS = Counter("gateway_requests_total", "Finished requests.", ["route", "outcome", "status"])
TASKS = Gauge("gateway_tasks", "Tasks of the event loop; two or three a running stream, and a few that stay.")
IN_FLIGHT = Gauge("gateway_requests_in_flight", "Requests for answers of a model that are not finished.")
TIME_TO_FIRST_CHUNK = Histogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "From the request's arrival to the first chunk of the answer.",
    ["gen_ai_operation_name", "gen_ai_request_model"],
    # Up to minutes, because a cold load takes them.
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640),
)

# Probes and scrapes come every few seconds; what makes them fail has a line of its own.
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request; whoever learns a thing writes it here."""

    request_id: str
    client: str
    started: float = field(default_factory=time.perf_counter)
    route: str = "unmatched"
    status: int = 0
    outcome: Outcome | None = None
    model: str | None = None
    # The model as a label: a model that the backend has, else "other", so that users cannot make new series.
    model_label: str = "other"
    backend: str | None = None
    operation: str | None = None
    first_chunk_after: float | None = None
    chunks: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    trace_id: str | None = None
    # What tells the model server of which trace its part is.
    trace_headers: dict[str, str] = field(default_factory=dict)
    asked_after: float | None = None

    def asked(self) -> None:
        """The request goes upstream."""
        self.asked_after = time.perf_counter() - self.started

    def first_chunk(self) -> None:
        self.first_chunk_after = time.perf_counter() - self.started
        if self.operation:
            TIME_TO_FIRST_CHUNK.labels(self.operation, self.model_label).observe(self.first_chunk_after)

    def settle(self) -> None:
        """Counts and logs the request; called once, whatever has happened."""
        self.outcome = self.outcome or ("ok" if self.status < 400 else "rejected")
        REQUESTS.labels(self.route, self.outcome, self.status).inc()
        line = {
            "request_id": self.request_id,
            "route": self.route,
            "model": self.model,
            "backend": self.backend,
            "outcome": self.outcome,
            "status": self.status,
            "ttft_seconds": _rounded(self.first_chunk_after),
            "duration_seconds": _rounded(time.perf_counter() - self.started),
            "chunks": self.chunks,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "client": self.client,
        }
        if self.trace_id:
            line["trace_id"] = self.trace_id
        log = structlog.get_logger()
        if self.route in QUIET_ROUTES and self.status != 500:
            log.debug("request", **line)
        else:
            log.info("request", **line)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _renderer(settings: Settings) -> Any:
    if settings.log_format == "console":
        return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), sort_keys=False)
    return structlog.processors.JSONRenderer()


def configure_structlog(settings: Settings) -> None:
    """The gateway's own lines: straight to stdout, without the cost of the standard library's logging."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _renderer(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


def standard_logging(settings: Settings) -> dict[str, Any]:
    """A `logging.config` dictionary that gives the lines of gunicorn and uvicorn the same shape as ours."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "same": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.stdlib.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.format_exc_info,
                ],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _renderer(settings),
                ],
            }
        },
        "handlers": {
            "stdout": {"class": "logging.StreamHandler", "formatter": "same", "stream": "ext://sys.stdout"}
        },
        "root": {"level": logging.getLevelName(settings.log_level.upper()), "handlers": ["stdout"]},
        "loggers": {
            # uvicorn's worker takes over this logger's handlers for its own lines.
            "gunicorn.error": {"handlers": ["stdout"], "propagate": False},
            "gunicorn.access": {"handlers": [], "propagate": False},
            # One line a request to upstream, which our own line has already.
            "httpx": {"level": "WARNING"},
        },
    }
