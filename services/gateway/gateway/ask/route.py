"""One path that goes upstream: who may ask for it, and in which form it answers."""

from dataclasses import dataclass

from ..access.allow_list import NOT_FOUND
from ..access.roles import RouteClass
from ..dialects.api import Api
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from .fields import NAMING


@dataclass(frozen=True)
class Route:
    """`stream` is the form of an answer that streams; `streams` says whether it does if the request doesn't
    say. `upstream_path` is Ollama's, where it differs. `operation` is OpenTelemetry's name for what a model
    does here. `upload` is a body that goes upstream as it comes, `form` one with a file in it. `not_found` is
    how Ollama says here that there is no such model.

    What can be asked with GET can be asked with HEAD.
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
    not_found: str = NOT_FOUND

    @property
    def naming(self) -> frozenset[str]:
        """The fields in which a request names a model. Ollama takes no more of them where one answers."""
        if self.kind == "web":
            return frozenset()
        return frozenset({"model"}) if self.kind == "inference" else NAMING
