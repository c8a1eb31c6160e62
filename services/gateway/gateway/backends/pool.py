"""Selects the model server for a request; there is one today."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Literal

from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.waiting import Status, Waiting
from ..settings import Settings
from .backend import Backend
from .client import UpstreamAnswer

# Assumed of an Ollama about which nothing is known.
UNKNOWN_SLOTS = 4

LOADING = Status("loading", {})


class Pool:
    """All model servers, with their models combined."""

    def __init__(self, settings: Settings, backend: Backend) -> None:
        self._settings = settings
        self._backend = backend

    @property
    def backends(self) -> tuple[Backend, ...]:
        return (self._backend,)

    def answer(self, ask: Ask, waiting: Waiting) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Select a model server and send it the request on entry. Raises GatewayError, as `Upstream.ask`."""
        backend = self._backend
        waiting.asked(backend.name)
        # The route's method, not the client's, which may be HEAD.
        method = ask.route.method
        if not isinstance(ask.body, bytes) or ask.route.kind in AUDITED:
            return backend.change(method, ask.path, ask.body, ask.headers)
        model = ask.model if ask.route.operation else None
        if model and backend.loads(model):
            waiting.waits_for(_loading)
        if model:
            backend.count_reloads(model, ask.load_options)
        return backend.stream(method, ask.path, ask.body, ask.headers, model)

    async def get_json(self, path: str, seconds: float) -> object:
        """GET a JSON document from the model server. Raises GatewayError."""
        return await self._backend.upstream.get_json(path, seconds)

    async def watch(self) -> None:
        """Poll the backends until cancelled."""
        await self._backend.watch()

    async def wait_polled(self, seconds: float) -> None:
        """Wait until every backend has been polled once, at most `seconds`."""
        try:
            await asyncio.wait_for(self._backend.polled.wait(), seconds)
        except TimeoutError:
            return

    # The models: see policy.Catalogue

    @property
    def missing(self) -> str | None:
        """Why no backend is ready, as text; None if one is."""
        return self._backend.missing

    @property
    def local(self) -> frozenset[str]:
        return self._backend.local

    @property
    def remote(self) -> frozenset[str]:
        return self._backend.remote

    def has(self, model: str) -> bool:
        return self._backend.has(model)

    def available(self, model: str) -> bool:
        """Whether a model server that is up has the model."""
        return self._backend.up and self._backend.has(model)

    def slots(self, model: str) -> int:
        """Answers that a model generates at once; 0: no limit. Models of other hosts have none."""
        if model in self._backend.remote:
            return 0
        if self._settings.slots != "auto":
            return self._settings.slots
        return self._backend.slots or self._settings.ollama_num_parallel or UNKNOWN_SLOTS

    def models_at_once(self) -> int:
        """Models that are in memory at once; 0: no known limit."""
        return self._backend.models_at_once or self._settings.ollama_max_loaded_models

    def has_loaded(self, model: str) -> bool:
        return self._backend.has_loaded(model)

    def label(self, model: str) -> str:
        return self._backend.label(model)

    async def refresh(self) -> None:
        await self._backend.refresh()

    async def locate(self, model: str) -> Literal["local", "remote"] | None:
        return await self._backend.locate(model)


def _loading() -> Status:
    return LOADING
