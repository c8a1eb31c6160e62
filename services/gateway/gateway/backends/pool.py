"""Selects the model server for a request; there is one today."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Literal

from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.waiting import Waiting
from .backend import Backend
from .client import UpstreamAnswer


class Pool:
    """All model servers, with their models combined."""

    def __init__(self, backend: Backend) -> None:
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
            waiting.waits_for("loading")
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

    def has_loaded(self, model: str) -> bool:
        return self._backend.has_loaded(model)

    def label(self, model: str) -> str:
        return self._backend.label(model)

    async def refresh(self) -> None:
        await self._backend.refresh()

    async def locate(self, model: str) -> Literal["local", "remote"] | None:
        return await self._backend.locate(model)
