"""The four APIs, and how each words an error before the first byte."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import GatewayError
from . import anthropic, chat_sse, ollama, openai
from .stream import parsed


@dataclass(frozen=True)
class Api:
    """`verbatim`: an error of upstream's is in this API's shape already, and passes with its status.

    `own_id` is how its clients read a request's id, in a header `request-id` and in errors.
    """

    name: str
    error_body: Callable[[GatewayError, str], dict[str, Any]]
    verbatim: bool = True
    own_id: Callable[[str], str] | None = None

    def refusal(self, error: GatewayError, request_id: str) -> tuple[int, str, bytes]:
        """Status, media type and body for `error`."""
        if self.verbatim and error.upstream:
            status, media_type, body = error.upstream
            return status, media_type, self._with_own_id(body, request_id)
        return error.status, "application/json", json.dumps(self.error_body(error, request_id)).encode()

    def id_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_id.encode())]
        if self.own_id:
            headers.append((b"request-id", self.own_id(request_id).encode()))
        return headers

    def _with_own_id(self, body: bytes, request_id: str) -> bytes:
        """Upstream's id is known nowhere else."""
        fields = parsed(body) if self.own_id else None
        if not self.own_id or not fields or "request_id" not in fields:
            return body
        return json.dumps({**fields, "request_id": self.own_id(request_id)}).encode()


CHAT = Api("chat", chat_sse.error_body, verbatim=False)
OLLAMA = Api("ollama", ollama.error_body)
OPENAI = Api("openai", openai.error_body)
ANTHROPIC = Api("anthropic", anthropic.error_body, own_id=anthropic.own_id)


def api_of(path: str) -> Api:
    """Whose clients ask for `path`, also if it does not exist."""
    if path.startswith("/v1/messages"):
        return ANTHROPIC
    if path.startswith("/v1/"):
        return OPENAI
    return OLLAMA if path == "/" or path.startswith("/api/") else CHAT
