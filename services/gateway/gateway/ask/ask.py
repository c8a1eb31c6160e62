"""One client request, parsed once and passed through the gateway."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote

from starlette.requests import Request

from ..access.caller import Caller
from ..errors import NotServed
from .affinity import LoadOptions, beginning
from .fields import Fields
from .json_spans import Steps
from .request_body import Upload
from .route import Route

# English text has about four bytes a token, in all common vocabularies.
BYTES_PER_TOKEN = 4
# A larger body has images or audio, whose bytes are not read as text.
MAX_PROMPT_ESTIMATE = 16 * 1024

# Client headers that describe the body. All others are for the gateway only.
PASSED_HEADERS = frozenset({b"content-type", b"content-length"})


def nothing() -> None:
    """For requests whose failure concerns nobody else."""


@dataclass(frozen=True)
class Ask:
    """`path`, `headers` and `body` are ready to be sent upstream, an upload in chunks. `fields` are those of
    the body as it arrived, `named` is the model in the path, if any. `targets` are the models behind those of
    the names that are aliases and that the caller may use. `load_options` are those with which the model has
    to be loaded. `changes` tells the client what has been changed. `unloads` is whether the request does
    nothing but unload a model. `keep_alive` is how long it is to stay in memory, in seconds, None if that is
    not said. `failed` has to be called if the model server fails. `server` is the model server that the
    client has named for managing models.
    """

    route: Route
    caller: Caller
    path: str
    headers: dict[str, str]
    body: bytes | Upload
    fields: Fields
    named: str | None = None
    targets: Mapping[str, str] = field(default_factory=dict)
    load_options: LoadOptions = frozenset()
    changes: tuple[str, ...] = ()
    unloads: bool = False
    keep_alive: float | None = None
    failed: Callable[[], None] = nothing
    server: str | None = None

    @cached_property
    def model(self) -> str | None:
        """The requested model, for logs and metrics. Access checks use `models`."""
        said = self._said
        return None if said is None else self.targets.get(said, said)

    @property
    def alias(self) -> str | None:
        """The name by which the model was requested, if it is an alias."""
        return self._said if self._said in self.targets else None

    @cached_property
    def _said(self) -> str | None:
        fields = self.fields
        value = fields.get("model") or fields.get("name") or fields.get("source")
        return value if isinstance(value, str) else None

    def models(self) -> Iterator[str]:
        """Every name by which the request may refer to a model. Raises InvalidRequest."""
        if self.named:
            yield self.named
        yield from self.fields.models(self.route.naming)

    def conversation(self) -> Steps[bytes]:
        """A digest of how the conversation begins: the same for each of its turns."""
        return (yield from beginning(self.fields))

    @cached_property
    def streams(self) -> bool:
        """Whether the client wants the answer as a stream."""
        value = self.fields.get("stream")  # null counts as absent, as in Ollama
        return self.route.stream is not None and (self.route.streams if value is None else value is True)

    @property
    def prompt_estimate(self) -> int:
        """About how many tokens the prompt has, from the body's size: for prompts whose count upstream has
        not reported.
        """
        size = len(self.body) if isinstance(self.body, bytes) else 0
        return min(size // BYTES_PER_TOKEN, MAX_PROMPT_ESTIMATE)


def upstream_path(request: Request, route: Route, targets: Mapping[str, str]) -> str:
    """The path for Ollama's router: each parameter is quoted as a single segment, aliases are replaced.

    Raises NotServed.
    """
    path = route.upstream_path or route.path
    for name, said in request.path_params.items():
        value = targets.get(said, said)
        if value in (".", ".."):  # a dot segment would change the path
            raise NotServed("this path does not exist here; see /docs", 404)
        path = re.sub(rf"{{{name}(:path)?}}", quote(value, safe=":"), path)
    # Ollama would also read a form's fields from the query, where they are not checked.
    query: bytes = b"" if route.form else request.scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


def upstream_headers(request: Request, body: bytes | Upload) -> dict[str, str]:
    """Headers for upstream: the body's, the request id and the trace context."""
    sent = {
        name.decode(): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if body and name in PASSED_HEADERS
    }
    state = request.state
    ids = {**state.trace.headers, "X-Request-Id": state.record.request_id}
    return {"content-type": "application/json", **sent, **ids}
