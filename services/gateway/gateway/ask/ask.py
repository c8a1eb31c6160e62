"""What one request asks, read once and handed on from room to room."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from starlette.requests import Request

from ..access.caller import Caller
from ..errors import NotServed
from .fields import Fields
from .request_body import Upload
from .route import Route

# Of the client's headers, those that say what the body is. Everything else is between client and gateway.
PASSED_HEADERS = frozenset({b"content-type", b"content-length"})


@dataclass(frozen=True)
class Ask:
    """`path` and `headers` are for upstream, and fit to be sent; `body` goes there as it came, which for an
    upload is piece by piece. `fields` are what the body says, `named` the model in the path, if there is one.
    """

    route: Route
    caller: Caller
    path: str
    headers: dict[str, str]
    body: bytes | Upload
    fields: Fields
    named: str | None = None

    @cached_property
    def model(self) -> str | None:
        """The model that is meant, for log lines and metrics: what is checked is `models`."""
        fields = self.fields
        said = self.named or fields.get("model") or fields.get("name") or fields.get("source")
        return said if isinstance(said, str) else None

    def models(self) -> Iterator[str]:
        """Every model that may be meant. Raises InvalidRequest."""
        if self.named:
            yield self.named
        yield from self.fields.models(self.route.naming)

    @cached_property
    def streams(self) -> bool:
        """Whether the answer is to come as a stream."""
        said = self.fields.get("stream")  # null says nothing, as to Ollama
        return self.route.stream is not None and (self.route.streams if said is None else said is True)


def upstream_path(request: Request, route: Route) -> str:
    """The path as Ollama's router wants it: a parameter is one segment, whatever is in it.

    Raises NotServed.
    """
    path = route.upstream_path or route.path
    for name, value in request.path_params.items():
        if value in (".", ".."):  # it would be another path, one level up
            raise NotServed("this path does not exist here; see /docs", 404)
        path = re.sub(rf"{{{name}(:path)?}}", quote(value, safe=":"), path)
    # A form's fields could stand there too, and Ollama would take those.
    query: bytes = b"" if route.form else request.scope["query_string"]
    return f"{path}?{query.decode('latin-1')}" if query else path


def upstream_headers(request: Request, body: bytes | Upload) -> dict[str, str]:
    """What upstream is told of the body, of the request's id and of its trace."""
    sent = {
        name.decode(): value.decode("latin-1")
        for name, value in request.scope["headers"]
        if body and name in PASSED_HEADERS
    }
    state = request.state
    ids = {**state.trace.headers, "X-Request-Id": state.record.request_id}
    return {"content-type": "application/json", **sent, **ids}
