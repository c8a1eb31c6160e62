"""Decides whether a caller may make a request: allow-lists and egress."""

from collections.abc import Collection
from typing import Literal, Protocol

from ..access.allow_list import not_found
from ..ask.ask import Ask
from ..ask.fields import run_in_steps
from ..ask.keep_alive import may_set
from ..errors import Forbidden, InvalidRequest
from ..names import full_name, is_in_cloud, requested_name
from ..settings import Settings
from .egress import Egress, cloud_forbidden

# Routes on which Ollama runs its own web search tool.
WEB_SEARCH_PATHS = frozenset({"/v1/messages", "/v1/responses"})


class Catalogue(Protocol):
    """The installed models. The async methods raise GatewayError."""

    def is_local(self, model: str) -> bool:
        """Whether the answers of `model`, a name as listed, are known to come from this machine."""

    @property
    def remote(self) -> frozenset[str]:
        """Models whose answers come from another host."""

    def has(self, model: str) -> bool:
        """Whether the model was present at the last poll."""

    async def refresh(self) -> None:
        """Poll the model server now."""

    async def locate(self, model: str, server: str | None = None) -> Literal["local", "remote"] | None:
        """Whether the model's answers come from this machine or another host; None if it does not exist.
        Only at the model server called `server`, if there is one.
        """


class Policy:
    """Allow-lists and egress."""

    def __init__(self, settings: Settings, catalogue: Catalogue) -> None:
        self._settings = settings
        self._egress = Egress(settings)
        self._catalogue = catalogue

    async def check(self, ask: Ask) -> None:
        """Check a request; may poll the model server.

        Raises Forbidden, InvalidRequest, ModelNotFound, and GatewayError if the poll fails.
        """
        if ask.caller.models:
            for name in ask.models():
                if name not in ask.targets:
                    ask.caller.models.check(name, ask.route.not_found)
        if ask.route.kind == "admin":
            await self._check_managing(ask)
            return
        if ask.route.path in WEB_SEARCH_PATHS:
            await run_in_steps(self._egress.check_tools(ask.fields))
        for said in ask.models():
            name = ask.targets.get(said, said)
            if said in ask.targets:
                self._egress.check_name(said)
            # Nearly every client uses the listed name, which needs no lookup.
            if not self._catalogue.is_local(name):
                await self._check_model(name, ask.route.not_found)
        if ask.unloads and not may_set(ask.caller, self._settings):
            raise Forbidden(
                "only an admin may unload a model here; GATEWAY_KEEP_ALIVE=any allows it to everybody"
            )

    async def _check_managing(self, ask: Ask) -> None:
        for name in ask.fields.models():
            self._check_is_no_alias(name)
        match ask.route.path:
            case "/api/pull":
                self._egress.check_pull(ask.fields)
            case "/api/push":
                self._egress.check_push(ask.fields)
            case "/api/create":
                self._egress.check_create(ask.fields)
                for name in ask.fields.models(("from",)):
                    await self._check_source(name, ask.server)
            case "/api/copy":
                for name in ask.fields.models(("source",)):
                    await self._check_model(name, ask.route.not_found, ask.server)

    def _check_is_no_alias(self, name: str) -> None:
        """Refuse to manage an alias, which would be another model for the model server, or none."""
        alias = self._settings.alias_table.get(full_name(name.strip()))
        if alias and not self._catalogue.has(name):
            raise InvalidRequest(
                f"{name} is an alias of {' or '.join(alias.targets)} here, see GATEWAY_ALIASES; "
                "models are managed by their own names"
            )

    async def _check_model(self, model: str, words: str, server: str | None = None) -> None:
        """Refuse models that are not local. An unknown model is refused here, not by the model server, which
        could have got it meanwhile, as a reference to another host.
        """
        if self._egress.cloud_allowed:
            return
        self._egress.check_name(model)
        location = await self._catalogue.locate(model, server)
        if location == "remote":
            raise cloud_forbidden(model)
        if location is None:
            raise not_found(model, words)

    async def _check_source(self, model: str, server: str | None) -> None:
        """Check the base model of /api/create; Ollama pulls it if it is missing there."""
        self._egress.check_name(model)
        location = await self._catalogue.locate(model, server)
        if location == "remote" and not self._egress.cloud_allowed:
            raise cloud_forbidden(model)
        if location is None:
            self._egress.check_source(model)

    def hides_models(self) -> bool:
        """Whether lists must hide any of the installed models."""
        return bool(self._catalogue.remote) and self.hides_cloud_models()

    def hides_cloud_models(self) -> bool:
        return not self._egress.cloud_allowed

    async def hidden(self, models: Collection[str]) -> set[str]:
        """Those of `models` that lists must hide. Raises GatewayError."""
        if not all(self._catalogue.has(model) for model in models):
            await self._catalogue.refresh()
        remote = self._catalogue.remote
        return {model for model in models if is_in_cloud(model) or requested_name(model) in remote}
