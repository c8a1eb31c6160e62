"""What generates and embeds text, in each API. Thin: each route names the steps of its work."""

from typing import Any

from . import wire
from .anthropic import Messages
from .catalogue import Model
from .embedding import embedded, texts_as_tokens
from .embeddings import EmbedRequest, LegacyEmbedRequest, OpenAIEmbedRequest
from .errors import EngineError, ModelNotFoundError, NotPulledError
from .exchange import Exchange
from .generation import chat_chunks, deliver, generate_chunks
from .ollama import ChatLines, Clock, GenerateLines, Lines
from .ollama_requests import ChatRequest, GenerateRequest, Request
from .openai import ChatCompletion, Completion, TextCompletion
from .responses import Responses


class Native:
    def error(self, error: EngineError) -> dict[str, Any]:
        return {"error": error.message}

    def error_event(self, error: EngineError) -> bytes:
        return wire.line(self.error(error))


async def chat(exchange: Exchange, body: bytes) -> None:
    clock = Clock()
    request = ChatRequest(wire.loads(body))
    lines = ChatLines(request, clock)
    model = await _model(exchange, request)
    if not request.messages:
        await _preload(exchange, request, model, lines)
        return
    runners = exchange.state.runners
    async with runners.lease(model, request.num_ctx, request.keep_alive) as runner:
        clock.mark_loaded()
        async with runners.slot(runner):
            await deliver(exchange, lines, chat_chunks(runner.llama, request.llama(), request.truncate))


async def generate(exchange: Exchange, body: bytes) -> None:
    clock = Clock()
    request = GenerateRequest(wire.loads(body))
    lines = GenerateLines(request, clock)
    model = await _model(exchange, request)
    if not request.prompt:
        await _preload(exchange, request, model, lines)
        return
    runners = exchange.state.runners
    async with runners.lease(model, request.num_ctx, request.keep_alive) as runner:
        clock.mark_loaded()
        async with runners.slot(runner):
            await deliver(exchange, lines, generate_chunks(runner.llama, request, runner.num_ctx))


async def openai_chat(exchange: Exchange, body: bytes) -> None:
    await _complete(exchange, ChatCompletion(wire.loads(body)))


async def openai_completion(exchange: Exchange, body: bytes) -> None:
    await _complete(exchange, TextCompletion(wire.loads(body)))


async def anthropic_messages(exchange: Exchange, body: bytes) -> None:
    await _complete(exchange, Messages(wire.loads(body)))


async def openai_response(exchange: Exchange, body: bytes) -> None:
    await _complete(exchange, Responses(wire.loads(body)))


async def _complete(exchange: Exchange, answer: Completion | Messages | Responses) -> None:
    model = await _model(exchange, answer)
    runners = exchange.state.runners
    async with runners.lease(model, None, None) as runner, runners.slot(runner):
        if isinstance(answer, TextCompletion | Responses):
            chunks = runner.llama.stream(answer.path, answer.llama())
        else:
            chunks = chat_chunks(runner.llama, answer.llama(), truncate=True)
        await deliver(exchange, answer, chunks)


async def embed(exchange: Exchange, body: bytes) -> None:
    await _embed(exchange, EmbedRequest(wire.loads(body)))


async def legacy_embed(exchange: Exchange, body: bytes) -> None:
    await _embed(exchange, LegacyEmbedRequest(wire.loads(body)))


async def openai_embed(exchange: Exchange, body: bytes) -> None:
    await _embed(exchange, OpenAIEmbedRequest(wire.loads(body)))


async def _embed(exchange: Exchange, request: EmbedRequest) -> None:
    clock = Clock()
    try:
        model = await _model(exchange, request)
    except ModelNotFoundError as error:
        raise NotPulledError(request.model) from error
    runners = exchange.state.runners
    async with runners.lease(model, request.num_ctx, request.keep_alive) as runner:
        clock.mark_loaded()
        texts = await texts_as_tokens(runner.llama, request, runner.num_ctx)
        count = exchange.record.prompt_tokens = sum(map(len, texts))
        vectors = []
        if texts:
            async with runners.all_slots(runner):
                vectors = await embedded(runner.llama, texts)
        await exchange.reply(request.answer(vectors, count, clock))


async def _model(
    exchange: Exchange, request: Request | Completion | Messages | Responses | EmbedRequest
) -> Model:
    model = await exchange.state.catalogue.find(request.model)
    exchange.record.model = model.name.short
    request.check(model)
    return model


async def _preload(exchange: Exchange, request: Request, model: Model, lines: Lines) -> None:
    runners = exchange.state.runners
    if request.keep_alive == 0:
        runners.unload(model)
        await exchange.reply(lines.alone("unload"))
    else:
        async with runners.lease(model, request.num_ctx, request.keep_alive):
            await exchange.reply(lines.alone("load"))
