"""The ASGI application: its routes, its shared state and its error handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ..api.anthropic.answers import MessagesAnswer
from ..api.anthropic.errors import AnthropicErrors
from ..api.anthropic.requests import MessagesRequest
from ..api.exchange import JSON, Endpoint, ErrorFormat, Handler
from ..api.gojson import codec
from ..api.handlers import answers, embeds
from ..api.ollama import management, models
from ..api.ollama.answers import ChatLines, GenerateLines
from ..api.ollama.embeddings import EmbedRequest, LegacyEmbedRequest
from ..api.ollama.errors import OllamaErrors
from ..api.ollama.requests import ChatRequest, GenerateRequest
from ..api.openai import models as openai_models
from ..api.openai.completion_answers import ChatCompletion, TextCompletion
from ..api.openai.completion_requests import ChatCompletionRequest, CompletionRequest
from ..api.openai.embeddings import OpenAIEmbedRequest
from ..api.openai.errors import OpenAIErrors
from ..api.openai.responses_answers import ResponsesAnswer
from ..api.openai.responses_requests import ResponsesRequest
from ..api.state import State
from ..errors import EngineError
from ..inference.scheduler import Scheduler
from ..models.catalogue import Catalogue
from ..settings import Settings
from ..telemetry.metrics import Metrics
from .metrics import metrics
from .request_log import RequestLog


def create_app(settings: Settings) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        catalogue, scheduler = Catalogue(settings.models_dir), Scheduler(settings)
        try:
            yield {"engine": State(settings, catalogue, scheduler, Metrics(settings.threads))}
        finally:
            await scheduler.aclose()

    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(RequestLog)],
        exception_handlers={
            HTTPException: unknown_route,
            EngineError: engine_error,
            ClientDisconnect: client_disconnected,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _routes() -> list[Route]:
    def post(path: str, handler: Handler, errors: ErrorFormat) -> Route:
        return Route(path, Endpoint(handler, errors), methods=["POST"])

    ollama, openai, anthropic = OllamaErrors(), OpenAIErrors(), AnthropicErrors()
    return [
        Route("/", models.root),
        Route("/api/version", models.version),
        Route("/api/tags", models.tags),
        Route("/api/ps", models.ps),
        Route("/api/show", models.show, methods=["POST"]),
        post("/api/chat", answers(ChatRequest, ChatLines), ollama),
        post("/api/generate", answers(GenerateRequest, GenerateLines), ollama),
        post("/api/embed", embeds(EmbedRequest), ollama),
        post("/api/embeddings", embeds(LegacyEmbedRequest), ollama),
        Route("/v1/models", openai_models.list_models),
        Route("/v1/models/{name:path}", openai_models.show_model),
        post("/v1/chat/completions", answers(ChatCompletionRequest, ChatCompletion), openai),
        post("/v1/completions", answers(CompletionRequest, TextCompletion), openai),
        post("/v1/embeddings", embeds(OpenAIEmbedRequest), openai),
        post("/v1/responses", answers(ResponsesRequest, ResponsesAnswer), openai),
        post("/v1/messages", answers(MessagesRequest, MessagesAnswer), anthropic),
        Route("/v1/audio/transcriptions", management.transcribe, methods=["POST"]),
        Route("/api/status", management.status),
        Route("/api/experimental/model-recommendations", management.recommendations),
        Route("/api/pull", management.pull, methods=["POST"]),
        Route("/api/push", management.push, methods=["POST"]),
        Route("/api/create", management.create, methods=["POST"]),
        Route("/api/copy", management.copy, methods=["POST"]),
        Route("/api/delete", management.delete, methods=["DELETE"]),
        Route("/api/blobs/{digest}", management.blob, methods=["HEAD", "POST"]),
        Route("/api/me", management.account, methods=["POST"]),
        Route("/api/signout", management.sign_out, methods=["POST"]),
        Route("/api/user/keys/{key}", management.sign_out, methods=["DELETE"]),
        Route("/api/experimental/web_search", management.web_search, methods=["POST"]),
        Route("/api/experimental/web_fetch", management.web_fetch, methods=["POST"]),
        Route("/metrics", metrics),
    ]


async def unknown_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = {404: "404 page not found", 405: "405 method not allowed"}[error.status_code]
    return PlainTextResponse(text, error.status_code, headers=error.headers)


async def engine_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)
    errors: ErrorFormat = OpenAIErrors() if request.url.path.startswith("/v1/") else OllamaErrors()
    return Response(codec.encode(errors.body(error)), error.status, media_type=JSON)


async def client_disconnected(request: Request, error: Exception) -> Response:
    """Reaches no client, but the log: 499 is nginx's status for it."""
    return Response(status_code=499)
