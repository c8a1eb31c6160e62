"""The official client libraries, and the exceptions that each raises for an error.

The exceptions are those that they raise against Ollama 0.24 itself.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anthropic
import httpx
import ollama
import openai
import pytest


@dataclass(frozen=True)
class Clients:
    ollama: ollama.Client
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic


@dataclass(frozen=True)
class AsyncClients:
    ollama: ollama.AsyncClient
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic


# OpenAI's and Anthropic's clients would retry after a pause, and so hide the first answer.


@contextmanager
def clients_of(url: str, timeout: float = 60) -> Iterator[Clients]:
    settings: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": timeout}
    with ExitStack() as stack:
        yield Clients(
            stack.enter_context(ollama.Client(url, timeout=timeout)),
            stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", **settings)),
            stack.enter_context(anthropic.Anthropic(base_url=url, **settings)),
        )


@asynccontextmanager
async def async_clients_of(url: str) -> AsyncIterator[AsyncClients]:
    settings: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": 60}
    async with AsyncExitStack() as stack:
        yield AsyncClients(
            await stack.enter_async_context(ollama.AsyncClient(url, timeout=60)),
            await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", **settings)),
            await stack.enter_async_context(anthropic.AsyncAnthropic(base_url=url, **settings)),
        )


# The async clients exist for the whole module, so their loop must too.
shared_loop = pytest.mark.asyncio(loop_scope="module")

Library = Literal["ollama", "openai", "anthropic"]


class ResponseFailed(Exception):
    """OpenAI's client reports a failed response as an event; this raises it."""


ERRORS: dict[Library, dict[int, type[Exception]]] = {
    "ollama": dict.fromkeys((400, 404, 410, 413, 500, 502, 503), ollama.ResponseError),
    "openai": {
        400: openai.BadRequestError,
        404: openai.NotFoundError,
        **dict.fromkeys((410, 413), openai.APIStatusError),
        **dict.fromkeys((500, 502, 503), openai.InternalServerError),
    },
    "anthropic": {
        400: anthropic.BadRequestError,
        404: anthropic.NotFoundError,
        **dict.fromkeys((410, 413), anthropic.APIStatusError),
        **dict.fromkeys((500, 502, 503), anthropic.InternalServerError),
    },
}

MIDWAY: dict[Library, tuple[type[Exception], ...]] = {
    "ollama": (ollama.ResponseError,),
    "openai": (openai.APIError, ResponseFailed),
    "anthropic": (anthropic.APIStatusError,),
}

TIMEOUTS: dict[Library, type[Exception]] = {
    "ollama": httpx.ReadTimeout,
    "openai": openai.APITimeoutError,
    "anthropic": anthropic.APITimeoutError,
}


@contextmanager
def refused(library: Library, status: int, says: str | None = None) -> Iterator[None]:
    """Expects the client's own exception for `status`, with the server's message."""
    with pytest.raises(ERRORS[library][status], match=says) as caught:
        yield
    error = caught.value
    assert isinstance(error, ollama.ResponseError | openai.APIStatusError | anthropic.APIStatusError)
    assert error.status_code == status
