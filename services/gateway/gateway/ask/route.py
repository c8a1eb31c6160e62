"""One path forwarded upstream: its access class and the form of its answer."""

from dataclasses import dataclass

from ..access.allow_list import NOT_FOUND
from ..access.roles import RouteClass
from ..dialects.api import CHAT, OLLAMA, Api
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from .fields import NAMING


@dataclass(frozen=True)
class Route:
    """`stream` and `whole` are the forms of a streamed and a complete answer; `streams` is the default if the
    request does not choose. `upstream_path` is Ollama's path, if it differs. `operation` is OpenTelemetry's
    name for the model's work. `upload` marks a body that is forwarded as it arrives, `form` a multipart form.
    `not_found` is Ollama's message on this route for an unknown model. `length_fields` are the fields that
    limit the tokens of an answer, first the one that Ollama reads; in `options` if the route has them.

    Every GET route also answers HEAD.
    """

    method: str
    path: str
    kind: RouteClass
    api: Api
    stream: type[Stream] | None = None
    streams: bool = False
    operation: str | None = None
    whole: type[Whole] = Whole
    upload: bool = False
    form: bool = False
    upstream_path: str | None = None
    length_fields: tuple[str, ...] = ()
    not_found: str = NOT_FOUND

    @property
    def naming(self) -> frozenset[str]:
        """The fields in which a request names a model; for inference Ollama reads only `model`."""
        if self.kind == "web":
            return frozenset()
        return frozenset({"model"}) if self.kind == "inference" else NAMING

    @property
    def has_options(self) -> bool:
        """Whether Ollama reads the fields `options` and `keep_alive`; it ignores them on the other APIs."""
        return self.operation is not None and self.api in (OLLAMA, CHAT)
