"""Egress rules: what may be sent to other hosts, and where models may be pulled from."""

from ..access.allow_list import AllowList
from ..access.guard import check_web_search
from ..ask.fields import Fields
from ..ask.json_spans import Steps
from ..errors import Forbidden, InvalidRequest
from ..names import MODEL_NAME, is_in_cloud, registry_of, requested_name
from ..settings import Settings

# Fields of older versions of /api/create: the model server would read a file on its own machine.
SERVER_FILES = ("modelfile", "path")


class Egress:
    """Raises Forbidden for what the settings disallow, with the setting that would allow it."""

    def __init__(self, settings: Settings) -> None:
        self.cloud_allowed = settings.cloud_models == "on"
        self._insecure_allowed = settings.pull_insecure == "on"
        self._settings = settings
        self._pull_from = settings.pull_registry_names
        self._push_to = settings.push_registry_names
        self._pull = AllowList(settings.pull_patterns)

    def check_name(self, model: str) -> None:
        """Refuse a name that is that of a cloud model by its tag alone."""
        if not self.cloud_allowed and is_in_cloud(model):
            raise cloud_forbidden(model)

    def check_pull(self, fields: Fields) -> None:
        self._check_insecure(fields)
        for model in fields.models():
            self.check_source(model)

    def check_source(self, model: str) -> None:
        """Refuse a model that may not be pulled."""
        self.check_name(model)
        self._check_registry(model, "GATEWAY_PULL_REGISTRIES", self._pull_from)
        if not self._pull.has(model):
            raise Forbidden(f"{model} may not be pulled: no pattern in GATEWAY_PULL_MODELS matches it")

    def check_push(self, fields: Fields) -> None:
        self._check_insecure(fields)
        for model in fields.models():
            self._check_registry(model, "GATEWAY_PUSH_REGISTRIES", self._push_to)

    def check_create(self, fields: Fields) -> None:
        """Check all fields but the base model, which depends on the installed models: see Policy."""
        for name in SERVER_FILES:
            if fields.has_any(name):
                raise InvalidRequest(f"{name}: not supported; use `from` and `files` instead")
        if fields.has_any("remote_host") and not self.cloud_allowed:
            raise Forbidden("remote_host: remote models are disabled; GATEWAY_CLOUD_MODELS=on enables them")

    def check_tools(self, fields: Fields) -> Steps[None]:
        """Refuse tools of the type with which Ollama itself searches the web, for words the model chooses."""
        if self._settings.web_search == "on":
            return
        for tool in (yield from fields.objects("tools")):
            for kind in tool.every("type"):
                if isinstance(kind, str) and kind.strip().lower().startswith("web_search"):
                    check_web_search(self._settings)

    def _check_insecure(self, fields: Fields) -> None:
        if not self._insecure_allowed and fields.has_any("insecure"):
            raise Forbidden("insecure: TLS checks are required; GATEWAY_PULL_INSECURE=on makes them optional")

    def _check_registry(self, model: str, setting: str, registries: frozenset[str]) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InvalidRequest(f"'{model}' is not a valid model name")
        registry = registry_of(requested_name(model))
        if registry not in registries:
            raise Forbidden(f"{registry} is not an allowed registry; {setting} can add it")


def cloud_forbidden(model: str) -> Forbidden:
    return Forbidden(
        f"'{model}' runs in a cloud and would send requests there; set GATEWAY_CLOUD_MODELS=on to allow it"
    )
