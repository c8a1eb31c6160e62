"""The engine's metrics."""

from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from .logs import LINES_DROPPED

VERSIONS = {package: metadata.version(package) for package in ("sluice-engine", "xllamacpp")}


class Metrics:
    def __init__(self, threads: int) -> None:
        self.registry = CollectorRegistry()
        gauge, counter = self._gauge, self._counter
        gauge("engine_threads", "llama.cpp's threads for each loaded model").set(threads)
        self.busy = gauge("engine_slots_busy", "Slots that llama.cpp is processing, as it reports")
        self.slots = gauge("engine_slots", "Slots of all loaded models")
        self.waiting = gauge("engine_requests_waiting", "Requests waiting for a model or a slot")
        self.loaded = gauge("engine_models_loaded", "Models in memory")
        self.requests = counter("engine_requests", "Generation requests by outcome", ["outcome"])
        self.tokens = counter(
            "engine_generated_tokens", "Tokens generated, including those of cancelled answers"
        )
        for outcome in ("ok", "client_gone", "error"):
            self.requests.labels(outcome)
        self.registry.register(LINES_DROPPED)
        Info("engine_build", "Versions in use", registry=self.registry).info(
            {"version": VERSIONS["sluice-engine"], "xllamacpp": VERSIONS["xllamacpp"]}
        )

    def _gauge(self, name: str, description: str) -> Gauge:
        return Gauge(name, description, registry=self.registry)

    def _counter(self, name: str, description: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, description, labels or [], registry=self.registry)
