"""Every route that streams, as cases for tests of all clients."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.fakes.ollama import DONE, line
from tests.model.clients.answers import (
    MESSAGE,
    NATIVE_ERROR,
    OPENAI_ERROR,
    REASON,
    RESPONSE,
    chat_chunk,
    completion_chunk,
    event,
    generated,
)
from tests.model.clients.libraries import AsyncClients, Clients, Library
from tests.model.clients.questions import (
    Asked,
    AsyncAsked,
    anthropic_message,
    anthropic_message_async,
    ollama_chat,
    ollama_chat_async,
    ollama_generate,
    ollama_generate_async,
    openai_chat,
    openai_chat_async,
    openai_completion,
    openai_completion_async,
    openai_response,
    openai_response_async,
    whole_anthropic_message,
    whole_ollama_chat,
    whole_ollama_generate,
    whole_openai_chat,
    whole_openai_completion,
    whole_openai_response,
)


@dataclass(frozen=True)
class Way:
    """A route with the fake's `answer`, Hello, and its `error`."""

    library: Library
    ask: Callable[[Clients, str, int], Asked]
    ask_async: Callable[[AsyncClients, str, int], AsyncAsked]
    whole: Callable[[Clients, str, int], object]
    answer: tuple[bytes, ...]
    error: bytes


CHAT = Way(
    "ollama",
    ollama_chat,
    ollama_chat_async,
    whole_ollama_chat,
    (line("Hel"), line("lo"), DONE),
    NATIVE_ERROR,
)

GENERATE = Way(
    "ollama",
    ollama_generate,
    ollama_generate_async,
    whole_ollama_generate,
    (generated("Hel"), generated("lo"), generated("", done=True, done_reason="stop")),
    NATIVE_ERROR,
)

OPENAI_CHAT = Way(
    "openai",
    openai_chat,
    openai_chat_async,
    whole_openai_chat,
    (chat_chunk(content="Hel"), chat_chunk(content="lo"), chat_chunk("stop"), b"data: [DONE]\n\n"),
    OPENAI_ERROR,
)

OPENAI_COMPLETION = Way(
    "openai",
    openai_completion,
    openai_completion_async,
    whole_openai_completion,
    (completion_chunk("Hel"), completion_chunk("lo"), completion_chunk("", "stop"), b"data: [DONE]\n\n"),
    OPENAI_ERROR,
)

OPENAI_RESPONSE = Way(
    "openai",
    openai_response,
    openai_response_async,
    whole_openai_response,
    RESPONSE,
    b"event: error\n" + OPENAI_ERROR,
)

ANTHROPIC_MESSAGE = Way(
    "anthropic",
    anthropic_message,
    anthropic_message_async,
    whole_anthropic_message,
    MESSAGE,
    event("error", error={"type": "api_error", "message": REASON}),
)

WAYS = [CHAT, GENERATE, OPENAI_CHAT, OPENAI_COMPLETION, OPENAI_RESPONSE, ANTHROPIC_MESSAGE]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.ask.__name__)
