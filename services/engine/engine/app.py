"""The ASGI application: the routes, what they share, and what surrounds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import inference, inventory, management, wire
from .anthropic import Anthropic
from .catalogue import Catalogue
from .errors import EngineError
from .exchange import JSON, Dialect, Endpoint, Work
from .middleware import RequestLog
from .openai import OpenAI
from .runners import Runners
from .settings import Settings
from .state import State
from .telemetry import Metrics


def create_app(settings: Settings) -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        state = State(settings, Catalogue(settings.models_dir), Runners(settings), Metrics(settings.threads))
        try:
            yield {"engine": state}
        finally:
            await state.runners.aclose()

    def post(path: str, work: Work, dialect: Dialect) -> Route:
        return Route(path, Endpoint(work, dialect), methods=["POST"])

    native, openai, anthropic = inference.Native(), OpenAI(), Anthropic()
    app = Starlette(
        routes=[
            Route("/", inventory.alive),
            Route("/api/version", inventory.version),
            Route("/api/tags", inventory.tags),
            Route("/api/ps", inventory.running),
            Route("/api/show", inventory.show, methods=["POST"]),
            post("/api/chat", inference.chat, native),
            post("/api/generate", inference.generate, native),
            post("/api/embed", inference.embed, native),
            post("/api/embeddings", inference.legacy_embed, native),
            Route("/v1/models", inventory.openai_models),
            Route("/v1/models/{name:path}", inventory.openai_model),
            post("/v1/chat/completions", inference.openai_chat, openai),
            post("/v1/completions", inference.openai_completion, openai),
            post("/v1/embeddings", inference.openai_embed, openai),
            post("/v1/responses", inference.openai_response, openai),
            post("/v1/messages", inference.anthropic_messages, anthropic),
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
            Route("/api/experimental/web_search", management.search_the_web, methods=["POST"]),
            Route("/api/experimental/web_fetch", management.fetch_from_the_web, methods=["POST"]),
            Route("/metrics", inventory.metrics),
        ],
        middleware=[Middleware(RequestLog)],
        exception_handlers={HTTPException: plain_error, EngineError: refusal, ClientDisconnect: gone},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def plain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = {404: "404 page not found", 405: "405 method not allowed"}[error.status_code]
    return PlainTextResponse(text, error.status_code, headers=error.headers)


async def refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)
    dialect: Dialect = OpenAI() if request.url.path.startswith("/v1/") else inference.Native()
    return Response(wire.dumps(dialect.error(error)), error.status, media_type=JSON)


async def gone(request: Request, error: Exception) -> Response:
    """Nobody gets it; the log has nginx's word for it."""
    return Response(status_code=499)
