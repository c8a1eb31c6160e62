"""The route table: every path forwarded upstream, its access class and the form of its answer."""

from ..ask.route import Route
from ..dialects.anthropic import Messages
from ..dialects.api import ANTHROPIC, CHAT, OLLAMA, OPENAI
from ..dialects.chat_sse import ChatSSE
from ..dialects.ollama import Ndjson, Progress
from ..dialects.openai import Completions, Responses, WholeAnswer
from ..dialects.whole import WholeText

# Models that a user may want to install or use in the cloud.
RECOMMENDATIONS = "/api/experimental/model-recommendations"

NUM_PREDICT = ("num_predict",)
MAX_TOKENS = ("max_tokens",)
# Ollama ignores the newer name; other servers prefer it.
MAX_TOKENS_OR_NEWER = ("max_tokens", "max_completion_tokens")

CHAT_ROUTE = Route(
    "POST",
    "/chat",
    "inference",
    CHAT,
    ChatSSE,
    True,
    "chat",
    upstream_path="/api/chat",
    length_fields=NUM_PREDICT,
)

RESPONSES_ROUTE = Route(
    "POST",
    "/v1/responses",
    "inference",
    OPENAI,
    Responses,
    operation="chat",
    whole=WholeAnswer,
    length_fields=("max_output_tokens",),
)

PULL_FIRST = 'model "{said}" not found, try pulling it first'
AS_LISTED = "model '{shown}' not found"

PASSED_ON = (
    Route("GET", "/", "read", OLLAMA, whole=WholeText),
    Route("GET", "/api/version", "read", OLLAMA),
    Route("GET", "/api/status", "read", OLLAMA),
    Route("GET", "/api/tags", "read", OLLAMA),
    Route("GET", "/api/ps", "read", OLLAMA),
    Route("POST", "/api/show", "read", OLLAMA, not_found=AS_LISTED),
    Route("GET", RECOMMENDATIONS, "read", OLLAMA),
    Route("POST", "/api/chat", "inference", OLLAMA, Ndjson, True, "chat", length_fields=NUM_PREDICT),
    Route(
        "POST",
        "/api/generate",
        "inference",
        OLLAMA,
        Ndjson,
        True,
        "text_completion",
        length_fields=NUM_PREDICT,
    ),
    Route("POST", "/api/embed", "inference", OLLAMA, operation="embeddings", not_found=PULL_FIRST),
    Route("POST", "/api/embeddings", "inference", OLLAMA, operation="embeddings", not_found=PULL_FIRST),
    Route("POST", "/api/experimental/web_search", "web", OLLAMA),
    Route("POST", "/api/experimental/web_fetch", "web", OLLAMA),
    Route("POST", "/api/pull", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/push", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/create", "admin", OLLAMA, Progress, True),
    Route("POST", "/api/copy", "admin", OLLAMA, not_found='model "{said}" not found'),
    Route("DELETE", "/api/delete", "admin", OLLAMA),
    Route("HEAD", "/api/blobs/{digest}", "admin", OLLAMA),
    Route("POST", "/api/blobs/{digest}", "admin", OLLAMA, upload=True),
    Route("POST", "/api/me", "account", OLLAMA),
    Route("POST", "/api/signout", "account", OLLAMA),
    Route("DELETE", "/api/user/keys/{key}", "account", OLLAMA),
    Route(
        "POST",
        "/v1/chat/completions",
        "inference",
        OPENAI,
        Completions,
        operation="chat",
        whole=WholeAnswer,
        length_fields=MAX_TOKENS_OR_NEWER,
    ),
    Route(
        "POST",
        "/v1/completions",
        "inference",
        OPENAI,
        Completions,
        operation="text_completion",
        whole=WholeAnswer,
        length_fields=MAX_TOKENS_OR_NEWER,
    ),
    Route("POST", "/v1/embeddings", "inference", OPENAI, operation="embeddings", not_found=PULL_FIRST),
    RESPONSES_ROUTE,
    Route(
        "POST",
        "/v1/audio/transcriptions",
        "inference",
        OPENAI,
        operation="generate_content",
        whole=WholeText,
        form=True,
    ),
    Route("GET", "/v1/models", "read", OPENAI),
    Route("GET", "/v1/models/{model:path}", "read", OPENAI, not_found=AS_LISTED),
    Route(
        "POST", "/v1/messages", "inference", ANTHROPIC, Messages, operation="chat", length_fields=MAX_TOKENS
    ),
)
