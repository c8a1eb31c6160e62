"""The engine's metrics."""

from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Info

from .logs import DROPPED

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
        self.registry.register(DROPPED)
        Info("engine_build", "Versions in use", registry=self.registry).info(
            {"version": PACKAGES["sluice-engine"], "xllamacpp": PACKAGES["xllamacpp"]}
        )

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def _counter(self, name: str, text: str, labels: list[str] | None = None) -> Counter:
        return Counter(name, text, labels or [], registry=self.registry)
