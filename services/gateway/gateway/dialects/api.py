"""The four APIs and the shape of their errors before the first byte."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ..errors import GatewayError
from . import anthropic, chat_sse, ollama, openai
from .decoding import parsed
from .rate_limit import Quota, anthropic_headers, openai_headers
from .refusal import Headers, Refusal
from .whole import JSON


@dataclass(frozen=True)
class Api:
    """`is_error_body` tells whether upstream's error has this API's shape and is forwarded unchanged; None if
    upstream does not serve this API. `own_id` formats the request id for the header `request-id` and errors.
    `status` is the HTTP status of an error, if this API has one of its own.
    `limit_headers` formats the caller's limits.
    """

    name: str
    error_body: Callable[[GatewayError, str], dict[str, Any]]
    is_error_body: Callable[[dict[str, Any]], bool] | None = None
    own_id: Callable[[str], str] | None = None
    status: Callable[[GatewayError], int] = attrgetter("status")
    limit_headers: Callable[[Iterable[Quota]], Headers] = openai_headers

    def refusal(self, error: GatewayError, request_id: str) -> Refusal:
        """The error response; upstream's own body if it has this API's shape."""
        status, body = self.status(error), json.dumps(self.error_body(error, request_id)).encode()
        if error.upstream and self.is_error_body:
            status, upstream_body = error.upstream
            fields = parsed(upstream_body)
            if fields and self.is_error_body(fields):
                body = self._with_own_id(upstream_body, fields, request_id)
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", b"%d" % len(body)),
            *error.headers(),
        ]
        return Refusal(status, headers, body, self.id_headers(request_id))

    def id_headers(self, request_id: str) -> Headers:
        headers = [(b"x-request-id", request_id.encode())]
        if self.own_id:
            headers.append((b"request-id", self.own_id(request_id).encode()))
        return headers

    def _with_own_id(self, body: bytes, fields: dict[str, Any], request_id: str) -> bytes:
        """Replace upstream's request id, which appears in no log, by ours."""
        if not self.own_id or "request_id" not in fields:
            return body
        return json.dumps({**fields, "request_id": self.own_id(request_id)}).encode()


CHAT = Api("chat", chat_sse.error_body)
OLLAMA = Api("ollama", ollama.error_body, ollama.is_error_body)
OPENAI = Api("openai", openai.error_body, openai.is_error_body)
ANTHROPIC = Api(
    "anthropic",
    anthropic.error_body,
    anthropic.is_error_body,
    anthropic.own_id,
    anthropic.http_status,
    anthropic_headers,
)


def api_of(path: str) -> Api:
    """The API that `path` belongs to, even if no route matches it."""
    if path.startswith("/v1/messages"):
        return ANTHROPIC
    if path.startswith("/v1/"):
        return OPENAI
    return OLLAMA if path == "/" or path.startswith("/api/") else CHAT
