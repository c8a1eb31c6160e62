"""The models of all servers together."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import GatewayError
from ..names import full_name, requested_name
from .backend import Backend


class Catalogue:
    """Of several servers with a model, only those are asked that run it themselves, if there are any: see
    `holders`. So a model counts as remote only if it is so everywhere.
    """

    def __init__(self) -> None:
        self.backends: tuple[Backend, ...] = ()

    def holders(self, model: str) -> Sequence[Backend]:
        """The servers that may be asked for `model`, a canonical name; all if none is known to have it."""
        if len(self.backends) == 1:
            return self.backends
        return (
            [backend for backend in self.backends if model in backend.models and model not in backend.remote]
            or [backend for backend in self.backends if model in backend.models]
            or self.backends
        )

    @property
    def missing(self) -> str | None:
        """Why no server is ready, as text; None if one is."""
        reasons = {backend.name: backend.missing for backend in self.backends}
        if not all(reasons.values()):
            return None
        if len(reasons) == 1:
            return next(iter(reasons.values()))
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())

    @property
    def not_ready(self) -> dict[str, str]:
        """The servers that are not ready, with the reasons."""
        return {backend.name: reason for backend in self.backends if (reason := backend.missing)}

    def is_local(self, model: str) -> bool:
        """Whether a request for `model`, a canonical name, is known to stay on the servers."""
        return any(model in backend.local for backend in self.backends)

    @property
    def remote(self) -> frozenset[str]:
        """Models whose answers come from another host."""
        found = _union(backend.remote for backend in self.backends)
        return found and found - _union(backend.models - backend.remote for backend in self.backends)

    def has(self, model: str) -> bool:
        return any(backend.has(model) for backend in self.backends)

    def has_loaded(self, model: str) -> bool:
        return any(backend.has_loaded(model) for backend in self.backends)

    def available(self, model: str) -> bool:
        """Whether a server that can be asked now has the model."""
        return any(backend.available and backend.has(model) for backend in self.backends)

    def label(self, model: str) -> str:
        """The model as a metric label; "other" unless a server has it, which bounds the label's values."""
        return full_name(model) if self.has(model) else "other"

    async def refresh(self) -> None:
        """Poll the servers now, and those that are down only if all are. Raises GatewayError if all fail."""
        asked = [backend for backend in self.backends if backend.up] or self.backends
        results = await asyncio.gather(*(_refresh(backend) for backend in asked))
        failures = [failure for failure in results if failure]
        if len(failures) == len(asked):
            raise failures[0]

    async def locate(self, model: str, server: str | None = None) -> Literal["local", "remote"] | None:
        """Where the model runs, None if it does not exist; polls for an unknown one. Only at the server with
        this name, if there is one. Raises GatewayError.
        """
        if len(self.backends) == 1:
            return await self.backends[0].locate(model)
        for backend in self.backends:
            if backend.name == server:
                return await backend.locate(model)
        name = requested_name(model)
        if not self.is_local(name):
            await self.refresh()
            if name in self.remote:
                return "remote"
        return "local" if self.has(name) else None


async def _refresh(backend: Backend) -> GatewayError | None:
    """Poll a server now; returns the failure."""
    try:
        await backend.refresh()
    except GatewayError as failure:
        return failure.with_traceback(None)  # it references this frame: a cycle
    return None


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
