"""Which model server answers: one today."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Literal

from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.waiting import Waiting
from .backend import Backend
from .client import UpstreamAnswer


class Pool:
    """The model servers as the rest of the gateway sees them: together they have these models."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def backends(self) -> tuple[Backend, ...]:
        return (self._backend,)

    def answer(self, ask: Ask, waiting: Waiting) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Picks a model server, which is asked at entry. Raises GatewayError there, as `Upstream.ask`."""
        backend = self._backend
        waiting.asked(backend.name)
        # The route's method, not the client's, which may be HEAD.
        method = ask.route.method
        if not isinstance(ask.body, bytes) or ask.route.kind in AUDITED:
            return backend.change(method, ask.path, ask.body, ask.headers)
        model = ask.model if ask.route.operation else None
        if model and backend.has(model) and not backend.has_loaded(model):
            waiting.waits_for("loading")
        return backend.stream(method, ask.path, ask.body, ask.headers, model)

    async def get_json(self, path: str, seconds: float) -> object:
        """Raises GatewayError."""
        return await self._backend.upstream.get_json(path, seconds)

    async def watch(self) -> None:
        """Keeps what is known up to date, for ever."""
        await self._backend.watch()

    async def known(self, seconds: float) -> None:
        """Returns when all have been looked at once, or after so long."""
        try:
            await asyncio.wait_for(self._backend.polled.wait(), seconds)
        except TimeoutError:
            return

    # What is known of the models, see policy.Catalogue

    @property
    def missing(self) -> str | None:
        """What keeps everything from being answered, in words; None if nothing does."""
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

    async def look(self) -> None:
        await self._backend.look()

    async def where(self, model: str) -> Literal["here", "elsewhere"] | None:
        return await self._backend.where(model)
