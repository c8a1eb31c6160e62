"""Metrics that are collected at scrape time, in the worker that answers it: build, settings, backends.

Every worker polls the backends, so any of them can report. Series of unloaded models disappear here, while
nothing is ever removed from the files in which the workers count.
"""

import platform
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import __version__
from ..access.keyring import Keyring
from ..settings import Settings
from ..telemetry import shared
from ..telemetry.exposition import Exposition
from ..telemetry.loop_watch import LoopWatch
from .backend import Backend

BACKEND = ["backend"]
LOADED = ["backend", "model"]


class Gauges(Collector):
    def __init__(
        self,
        settings: Settings,
        backends: Callable[[], Sequence[Backend]],
        keyring: Keyring,
        loop_watch: LoopWatch,
    ) -> None:
        self._settings = settings
        self._backends = backends
        self._keyring = keyring
        self._loop_watch = loop_watch

    def collect(self) -> Iterator[GaugeMetricFamily]:
        build = GaugeMetricFamily(
            "gateway_build_info",
            "Always 1; the labels are the versions of the gateway and of Python.",
            labels=["version", "python"],
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        gpu = GaugeMetricFamily("gateway_gpu_expected", "1 if models should run on a GPU.")
        gpu.add_metric([], self._settings.gpu_expected == "on")
        yield gpu
        keys = GaugeMetricFamily("gateway_keys_file_ok", "0 if the valid keys are not those of the key file.")
        keys.add_metric([], self._keyring.file_ok)
        yield keys
        stall = GaugeMetricFamily(
            "gateway_loop_stall_seconds", "Longest stall of the event loop in the last minute."
        )
        stall.add_metric([], self._loop_watch.longest)
        yield stall

        up = GaugeMetricFamily(
            "gateway_backend_up", "1 if the last poll of the backend succeeded.", labels=BACKEND
        )
        models = GaugeMetricFamily(
            "gateway_backend_models", "Models installed on the backend.", labels=BACKEND
        )
        loaded = GaugeMetricFamily("gateway_backend_models_loaded", "Models in memory.", labels=BACKEND)
        memory = GaugeMetricFamily(
            "gateway_backend_memory_bytes", "Memory used by a loaded model.", labels=LOADED
        )
        vram = GaugeMetricFamily(
            "gateway_backend_vram_bytes", "GPU memory used by a loaded model.", labels=LOADED
        )
        ratio = GaugeMetricFamily(
            "gateway_backend_gpu_ratio", "Share of a loaded model on the GPU, 0 to 1.", labels=LOADED
        )
        unload = GaugeMetricFamily(
            "gateway_backend_unload_seconds",
            "Time until an idle model is unloaded; +Inf: never.",
            labels=LOADED,
        )
        available = GaugeMetricFamily(
            "gateway_backend_available",
            "1 if requests are sent to the backend: it is up, and answers requests.",
            labels=BACKEND,
        )
        tokens = GaugeMetricFamily(
            "gateway_backend_tokens_per_second",
            "Tokens a second of an answer, the mean of the latest ones.",
            labels=LOADED,
        )
        first_byte = GaugeMetricFamily(
            "gateway_backend_first_byte_seconds",
            "Time from the request to the first byte, the mean of the latest answers.",
            labels=LOADED,
        )
        for backend in self._backends():
            available.add_metric([backend.name], backend.available)
            for name, speed in backend.speeds.items():
                if speed.tokens.value:
                    tokens.add_metric([backend.name, name], speed.tokens.value)
                if speed.first_byte.value is not None:
                    first_byte.add_metric([backend.name, name], speed.first_byte.value)
            up.add_metric([backend.name], backend.up)
            models.add_metric([backend.name], len(backend.models))
            loaded.add_metric([backend.name], len(backend.loaded))
            for model in backend.loaded:
                labels = [backend.name, model.name]
                memory.add_metric(labels, model.size)
                vram.add_metric(labels, model.vram)
                ratio.add_metric(labels, model.vram / model.size if model.size else 0)
                unload.add_metric(labels, model.unload_after)
        yield from (up, available, models, loaded, memory, vram, ratio, unload, tokens, first_byte)


class Scrape:
    """The text of a scrape: all metrics in Prometheus' exposition format."""

    def __init__(
        self,
        settings: Settings,
        backends: Callable[[], Sequence[Backend]],
        keyring: Keyring,
        loop_watch: LoopWatch,
    ) -> None:
        self._current = CollectorRegistry()
        self._current.register(Gauges(settings, backends, keyring, loop_watch))
        folder = shared.folder()
        self._counted = Exposition(folder) if folder else None
        if folder and settings.workers == 1:
            # With several workers each scrape would report another process.
            ProcessCollector(registry=self._current)

    def text(self) -> bytes:
        # Without gunicorn there is no folder: the counts of the one process are in the default registry.
        counted = self._counted.text().encode() if self._counted else generate_latest()
        return counted + generate_latest(self._current)
