"""Parses Ollama's lists of models: /api/tags and /api/ps. An answer without a list raises UpstreamFailed."""

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import UpstreamFailed
from ..names import full_name, is_in_cloud

# Ollama reports a model that is never unloaded as expiring in about three hundred years.
NEVER_SECONDS = 100 * 365 * 86400


@dataclass(frozen=True)
class LoadedModel:
    """A model in memory; `size` and `vram` in bytes, `unload_at` in seconds since 1970, `context` in tokens,
    0 if it is not reported.
    """

    name: str
    size: int
    vram: int
    unload_at: float
    context: int = 0

    @property
    def unload_after(self) -> float:
        """Seconds from now, infinite if never."""
        left = self.unload_at - time.time()
        return math.inf if left > NEVER_SECONDS else max(0.0, left)


def listed(tags: object) -> frozenset[str]:
    """Full names of the models in an answer of /api/tags."""
    return frozenset(full_name(model["name"]) for model in _models(tags))


def remote(tags: object) -> frozenset[str]:
    """Those of them whose answers come from another host."""
    return frozenset(
        full_name(model["name"])
        for model in _models(tags)
        if model.get("remote_host") or model.get("remote_model") or is_in_cloud(model["name"])
    )


def loaded(running: object) -> tuple[LoadedModel, ...]:
    """The models in memory, from an answer of /api/ps."""
    return tuple(
        LoadedModel(
            full_name(model["name"]),
            int(model.get("size") or 0),
            int(model.get("size_vram") or 0),
            _timestamp(model.get("expires_at")),
            _count(model.get("context_length")),
        )
        for model in _models(running)
    )


def capacity(running: object) -> tuple[int, int]:
    """Slots of a model, and models in memory at once, as the embedded engine reports them in /api/ps; 0 if it
    does not.
    """
    fields = running if isinstance(running, dict) else {}
    slots, models = fields.get("slots"), fields.get("max_loaded_models")
    return _count(slots), _count(models)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _timestamp(value: object) -> float:
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except ValueError:
        return math.inf


def _models(answer: object) -> list[dict[str, Any]]:
    models = answer.get("models", ()) if isinstance(answer, dict) else ()
    if not isinstance(models, list | None):
        raise UpstreamFailed("the answer has no list of models")
    return [model for model in models or () if isinstance(model, dict) and isinstance(model.get("name"), str)]
