"""What may leave for elsewhere, and from where models may come."""

from ..access.allow_list import AllowList
from ..access.guard import check_web_search
from ..ask.fields import Fields
from ..ask.json_spans import Steps
from ..errors import Forbidden, InvalidRequest
from ..names import MODEL_NAME, is_in_cloud, meant_by, registry_of
from ..settings import Settings

# What /api/create took before it took files: the model server would read a file of its own machine.
SERVER_FILES = ("modelfile", "path")


class Egress:
    """Raises Forbidden where the settings do not allow it, with the one that would."""

    def __init__(self, settings: Settings) -> None:
        self.cloud_allowed = settings.cloud_models == "on"
        self._insecure_allowed = settings.pull_insecure == "on"
        self._settings = settings
        self._pull_from = settings.pull_registry_names
        self._push_to = settings.push_registry_names
        self._pull = AllowList(settings.pull_patterns)

    def check_name(self, model: str) -> None:
        """That the name alone does not already say that it is a model of the cloud."""
        if not self.cloud_allowed and is_in_cloud(model):
            raise remote(model)

    def check_pull(self, fields: Fields) -> None:
        self._check_insecure(fields)
        for model in fields.models():
            self.check_source(model)

    def check_source(self, model: str) -> None:
        """That it may be pulled."""
        self.check_name(model)
        self._check_registry(model, "GATEWAY_PULL_REGISTRIES", self._pull_from)
        if not self._pull.has(model):
            raise Forbidden(f"{model} is not for pulling here: GATEWAY_PULL_MODELS has no pattern for it")

    def check_push(self, fields: Fields) -> None:
        self._check_insecure(fields)
        for model in fields.models():
            self._check_registry(model, "GATEWAY_PUSH_REGISTRIES", self._push_to)

    def check_create(self, fields: Fields) -> None:
        """All but the model from which it is made: whether that would be pulled is not known here."""
        for name in SERVER_FILES:
            if fields.has_any(name):
                raise InvalidRequest(f"{name}: not taken here; say it with from, files and the like")
        if fields.has_any("remote_host") and not self.cloud_allowed:
            raise Forbidden("remote_host: models elsewhere are not used; GATEWAY_CLOUD_MODELS=on allows it")

    def check_tools(self, fields: Fields) -> Steps[None]:
        """Ollama searches the web itself, for a tool of this type: the model says for what."""
        if self._settings.web_search == "on":
            return
        for tool in (yield from fields.objects("tools")):
            for kind in tool.every("type"):
                if isinstance(kind, str) and kind.strip().lower().startswith("web_search"):
                    check_web_search(self._settings)

    def _check_insecure(self, fields: Fields) -> None:
        if not self._insecure_allowed and fields.has_any("insecure"):
            raise Forbidden("insecure: only over https; GATEWAY_PULL_INSECURE=on allows it")

    def _check_registry(self, model: str, setting: str, registries: frozenset[str]) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InvalidRequest(f"'{model}' is not a model's name")
        registry = registry_of(meant_by(model))
        if registry not in registries:
            raise Forbidden(f"{registry} is not a registry to use here; {setting} can allow it")


def remote(model: str) -> Forbidden:
    return Forbidden(
        f"'{model}' is in a cloud, which would get what is asked; GATEWAY_CLOUD_MODELS=on allows it"
    )
