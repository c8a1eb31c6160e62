"""Counts how often a model server loads a model anew because requests differ in their load options."""

from ..ask.affinity import LoadOptions
from ..telemetry.metrics import RELOADS, child


class Reloads:
    """Those of one model server."""

    def __init__(self) -> None:
        self._options: dict[str, dict[str, str]] = {}

    def sent(self, model: str, options: LoadOptions, is_loaded: bool) -> None:
        """A request for an installed model is sent."""
        last, current = self._options.get(model), dict(options)
        if last is not None and is_loaded:
            # Ollama leaves a model on as many layers of the GPU as it is if the request does not say.
            if "num_gpu" in last:
                current.setdefault("num_gpu", last["num_gpu"])
            for name in sorted(last.keys() | current.keys()):
                if last.get(name) != current.get(name):
                    child(RELOADS, model, name).inc()
        self._options[model] = current
