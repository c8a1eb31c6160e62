"""The four APIs, and how each words an error before the first byte."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import GatewayError
from . import anthropic, chat_sse, ollama, openai


@dataclass(frozen=True)
class Api:
    """`verbatim`: an error of upstream's is in this API's shape already, and passes with its status."""

    name: str
    error_body: Callable[[GatewayError, str], dict[str, Any]]
    verbatim: bool = True

    def refusal(self, error: GatewayError, request_id: str) -> tuple[int, str, bytes]:
        """Status, media type and body for `error`."""
        if self.verbatim and error.upstream:
            return error.upstream
        return error.status, "application/json", json.dumps(self.error_body(error, request_id)).encode()


CHAT = Api("chat", chat_sse.error_body, verbatim=False)
OLLAMA = Api("ollama", ollama.error_body)
OPENAI = Api("openai", openai.error_body)
ANTHROPIC = Api("anthropic", anthropic.error_body)


def api_of(path: str) -> Api:
    """Whose clients ask for `path`, also if it does not exist."""
    if path.startswith("/v1/messages"):
        return ANTHROPIC
    if path.startswith("/v1/"):
        return OPENAI
    return OLLAMA if path == "/" or path.startswith("/api/") else CHAT
