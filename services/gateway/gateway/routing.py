"""Which backend answers: for now one, with what is known of its health and its models."""

import asyncio

import structlog

from .errors import GatewayError
from .upstream import Upstream

# Quick while something is missing, so that a start is noticed at once; slow when all is well.
POLL_SECONDS_MISSING = 0.5
POLL_SECONDS_READY = 10
POLL_TIMEOUT = 5


class Backend:
    """One Ollama. `up` and `models` are as of the last poll."""

    def __init__(
        self, name: str, upstream: Upstream, default_model: str, awaited: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.default_model = default_model
        self.awaited = awaited
        self.up = False
        self.models: frozenset[str] = frozenset()

    @property
    def missing(self) -> str | None:
        """What keeps this backend from answering, in words; None if nothing does."""
        if not self.up:
            return "the model server is not reachable"
        if self.default_model and not self.has(self.default_model):
            return f"the model {self.default_model} is not there yet"
        if not self.models and self.awaited:
            return f"none of the models is there yet: {', '.join(self.awaited)}"
        if not self.models:
            return "the model server has no models"
        return None

    def has(self, model: str) -> bool:
        return full_name(model) in self.models

    def label(self, model: str) -> str:
        """The model as a metric's label: only names that the backend has become one."""
        return full_name(model) if self.has(model) else "other"

    async def watch(self) -> None:
        """Polls for ever."""
        while True:
            await self._poll()
            await asyncio.sleep(POLL_SECONDS_MISSING if self.missing else POLL_SECONDS_READY)

    async def _poll(self) -> None:
        was_missing = self.missing
        try:
            tags = await self.upstream.get_json("/api/tags", POLL_TIMEOUT)
            self.models = listed(tags)
            self.up = True
        except GatewayError:
            self.up = False
        except Exception:
            # Whatever it was: without this loop /readyz would say for ever what it said last.
            structlog.get_logger().exception("defect", backend=self.name)
            self.up = False
        if self.missing != was_missing:
            structlog.get_logger().info("backend", backend=self.name, missing=self.missing)


def listed(tags: object) -> frozenset[str]:
    """The full names in the answer of /api/tags."""
    models = tags.get("models") if isinstance(tags, dict) else None
    return frozenset(
        full_name(model["name"])
        for model in (models if isinstance(models, list) else [])
        if isinstance(model, dict) and isinstance(model.get("name"), str)
    )


def full_name(model: str) -> str:
    """Ollama compares names without regard to case and takes `latest` for a tag that is not said.

    Its own registry and that registry's `library` may be said, but it never lists them.
    """
    name = model.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
