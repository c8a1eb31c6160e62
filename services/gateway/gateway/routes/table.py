"""What exists: every path that goes upstream, who may ask for it, and in which form it answers."""

from dataclasses import dataclass

from ..access.fields import NAMING
from ..access.roles import RouteClass
from ..dialects.anthropic import Messages
from ..dialects.api import ANTHROPIC, CHAT, OLLAMA, OPENAI, Api
from ..dialects.chat_sse import ChatSSE
from ..dialects.ollama import Ndjson, Progress
from ..dialects.openai import Completions, Responses, WholeAnswer
from ..dialects.stream import Stream
from ..dialects.whole import Whole, WholeText


@dataclass(frozen=True)
class Route:
    """`stream` is the form of an answer that streams; `streams` says whether it does if the request doesn't
    say. `upstream_path` is Ollama's, where it differs. `operation` is OpenTelemetry's name for what a model
    does here."""

    method: str
    path: str
    kind: RouteClass
    api: Api
    stream: type[Stream] | None = None
    streams: bool = False
    operation: str | None = None
    whole: type[Whole] = Whole
    upload: bool = False
    upstream_path: str | None = None

    @property
    def naming(self) -> frozenset[str]:
        """The fields in which a request names a model. Ollama takes no more of them where one answers."""
        return frozenset({"model"}) if self.kind == "inference" else NAMING


CHAT_ROUTE = Route("POST", "/chat", "inference", CHAT, ChatSSE, True, "chat", upstream_path="/api/chat")

PASSED_ON = (
    Route("GET", "/", "read", OLLAMA, whole=WholeText),
    Route("HEAD", "/", "read", OLLAMA, whole=WholeText),
    Route("GET", "/api/version", "read", OLLAMA),
    Route("HEAD", "/api/version", "read", OLLAMA),
    Route("GET", "/api/tags", "read", OLLAMA),
    Route("HEAD", "/api/tags", "read", OLLAMA),
    Route("GET", "/api/ps", "read", OLLAMA),
    Route("POST", "/api/show", "read", OLLAMA),
    Route("POST", "/api/chat", "inference", OLLAMA, Ndjson, True, "chat"),
    Route("POST", "/api/generate", "inference", OLLAMA, Ndjson, True, "text_completion"),
    Route("POST", "/api/embed", "inference", OLLAMA, operation="embeddings"),
    Route("POST", "/api/embeddings", "inference", OLLAMA, operation="embeddings"),
    Route("POST", "/api/pull", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/push", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/create", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/copy", "admin", OLLAMA),
    Route("DELETE", "/api/delete", "admin", OLLAMA),
    Route("HEAD", "/api/blobs/{digest}", "admin", OLLAMA),
    Route("POST", "/api/blobs/{digest}", "admin", OLLAMA, upload=True),
    Route("POST", "/api/me", "account", OLLAMA),
    Route("POST", "/api/signout", "account", OLLAMA),
    Route(
        "POST", "/v1/chat/completions", "inference", OPENAI, Completions, operation="chat", whole=WholeAnswer
    ),
    Route(
        "POST",
        "/v1/completions",
        "inference",
        OPENAI,
        Completions,
        operation="text_completion",
        whole=WholeAnswer,
    ),
    Route("POST", "/v1/embeddings", "inference", OPENAI, operation="embeddings"),
    Route("POST", "/v1/responses", "inference", OPENAI, Responses, operation="chat", whole=WholeAnswer),
    Route("GET", "/v1/models", "read", OPENAI),
    Route("GET", "/v1/models/{model:path}", "read", OPENAI),
    Route("POST", "/v1/messages", "inference", ANTHROPIC, Messages, operation="chat"),
)
