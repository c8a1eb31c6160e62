"""Whether a caller may ask what a request says: the one place that decides it."""

from collections.abc import Collection
from typing import Literal, Protocol

from ..access.allow_list import not_found
from ..ask.ask import Ask
from ..ask.fields import politely
from ..names import is_in_cloud, meant_by
from ..settings import Settings
from .egress import Egress, remote

# Where Ollama takes a tool of its own for what it does itself.
SEARCHING = frozenset({"/v1/messages", "/v1/responses"})


class Catalogue(Protocol):
    """What is known of the models that there are. Both methods that wait raise GatewayError."""

    @property
    def local(self) -> frozenset[str]:
        """Models whose answers are known to come from this machine."""

    @property
    def remote(self) -> frozenset[str]:
        """Models whose answers come from another host."""

    def has(self, model: str) -> bool:
        """Whether there is such a model, as of the last look."""

    async def look(self) -> None:
        """Makes what is known as of now."""

    async def where(self, model: str) -> Literal["here", "elsewhere"] | None:
        """Whether its answers come from this machine."""


class Policy:
    """Allow-lists and egress."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._egress = Egress(settings)
        self._catalogue = catalogue

    async def check(self, ask: Ask) -> None:
        """May look at the model server. Raises Forbidden, InvalidRequest, ModelNotFound, and what the look
        fails with.
        """
        if ask.caller.models:
            for name in ask.models():
                ask.caller.models.check(name, ask.route.not_found)
        if ask.route.kind == "admin":
            await self._check_managing(ask)
            return
        if ask.route.path in SEARCHING:
            await politely(self._egress.check_tools(ask.fields))
        for name in ask.models():
            # As it is listed nearly every client says it; then there is nothing to be resolved.
            if name not in self._catalogue.local:
                await self._check_model(name, ask.route.not_found)

    async def _check_managing(self, ask: Ask) -> None:
        match ask.route.path:
            case "/api/pull":
                self._egress.check_pull(ask.fields)
            case "/api/push":
                self._egress.check_push(ask.fields)
            case "/api/create":
                self._egress.check_create(ask.fields)
                for name in ask.fields.models(("from",)):
                    await self._check_source(name)
            case "/api/copy":
                for name in ask.fields.models(("source",)):
                    await self._check_model(name, ask.route.not_found)

    async def _check_model(self, model: str, words: str) -> None:
        """That it is one of the model server's own. What it does not know is not asked of it: it may know it
        by then, as a reference to another host.
        """
        if self._egress.cloud_allowed:
            return
        self._egress.check_name(model)
        where = await self._catalogue.where(model)
        if where == "elsewhere":
            raise remote(model)
        if where is None:
            raise not_found(model, words)

    async def _check_source(self, model: str) -> None:
        """A model to make another one from: what is not there, Ollama pulls."""
        self._egress.check_name(model)
        where = await self._catalogue.where(model)
        if where == "elsewhere" and not self._egress.cloud_allowed:
            raise remote(model)
        if where is None:
            self._egress.check_source(model)

    def hides_models(self) -> bool:
        """Whether there are models that a list must not show."""
        return bool(self._catalogue.remote) and not self._egress.cloud_allowed

    async def hidden(self, models: Collection[str]) -> set[str]:
        """Those of `models` that a list must not show. Raises GatewayError."""
        if self._egress.cloud_allowed:
            return set()
        if not all(self._catalogue.has(model) for model in models):
            await self._catalogue.look()
        remote = self._catalogue.remote
        return {model for model in models if is_in_cloud(model) or meant_by(model) in remote}
