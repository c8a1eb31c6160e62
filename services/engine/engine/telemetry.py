"""Logs and metrics of the engine."""

import logging
import sys
from importlib import metadata

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from .settings import Settings

PACKAGES = {package: metadata.version(package) for package in ("sluice-engine", "xllamacpp")}


class Metrics:
    def __init__(self, threads: int) -> None:
        self.registry = CollectorRegistry()
        gauge, counter = self._gauge, self._counter
        gauge("engine_threads", "Threads of llama.cpp, for each loaded model").set(threads)
        self.busy = gauge("engine_slots_busy", "Slots that llama.cpp is working on, as it says itself")
        self.slots = gauge("engine_slots", "Slots of all loaded models")
        self.waiting = gauge("engine_requests_waiting", "Requests that wait for a model or a slot")
        self.loaded = gauge("engine_models_loaded", "Models in memory")
        self.requests = counter("engine_requests", "Generation requests by outcome", ["outcome"])
        self.tokens = counter("engine_generated_tokens", "Tokens generated, also of cancelled answers")
        for outcome in ("ok", "client_gone", "error"):
            self.requests.labels(outcome)
        Info("engine_build", "Versions in use", registry=self.registry).info(
            {"version": PACKAGES["sluice-engine"], "xllamacpp": PACKAGES["xllamacpp"]}
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, text, labels or [], registry=self.registry)


def configure_logging(settings: Settings) -> None:
    """One shape for all lines on stderr, our own and uvicorn's."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper())
    # They log each request at info; ours is the one line a request.
    for chatty in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
