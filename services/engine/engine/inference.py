"""What generates and embeds text, in each API. Thin: each route names the steps of its work."""

from typing import Any

from . import wire
from .anthropic import Messages
from .anthropic_requests import MessagesRequest
from .catalogue import Model
from .embedding import embedded, texts_as_tokens
from .embeddings import EmbedRequest, LegacyEmbedRequest, OpenAIEmbedRequest
from .errors import EngineError, ModelNotFoundError, NotPulledError
from .exchange import Exchange
from .generation import Renderer, chunks_of, deliver, rendered
from .message import only
from .ollama import ChatLines, GenerateLines, Lines
from .ollama_requests import ChatRequest, GenerateRequest
from .openai import ChatCompletion, TextCompletion
from .openai_requests import ChatCompletionRequest, CompletionRequest
from .responses import Responses
from .responses_requests import ResponsesRequest


class Native:
    def error(self, error: EngineError) -> dict[str, Any]:
        return {"error": error.message}

    def error_event(self, error: EngineError) -> bytes:
        return wire.line(self.error(error))


async def chat(exchange: Exchange, raw: object) -> None:
    request = ChatRequest(raw)
    await _answer(exchange, request, ChatLines(request))


async def generate(exchange: Exchange, raw: object) -> None:
    request = GenerateRequest(raw)
    await _answer(exchange, request, GenerateLines(request))


async def openai_chat(exchange: Exchange, raw: object) -> None:
    request = ChatCompletionRequest(raw)
    await _answer(exchange, request, ChatCompletion(request))


async def openai_completion(exchange: Exchange, raw: object) -> None:
    request = CompletionRequest(raw)
    await _answer(exchange, request, TextCompletion(request))


async def openai_response(exchange: Exchange, raw: object) -> None:
    request = ResponsesRequest(raw)
    await _answer(exchange, request, Responses(request))


async def anthropic_messages(exchange: Exchange, raw: object) -> None:
    request = MessagesRequest(raw)
    await _answer(exchange, request, Messages(request))


async def embed(exchange: Exchange, raw: object) -> None:
    await _embed(exchange, EmbedRequest(raw))


async def legacy_embed(exchange: Exchange, raw: object) -> None:
    await _embed(exchange, LegacyEmbedRequest(raw))


async def openai_embed(exchange: Exchange, raw: object) -> None:
    await _embed(exchange, OpenAIEmbedRequest(raw))


async def _answer(exchange: Exchange, request: ChatRequest | GenerateRequest, answer: Renderer) -> None:
    model = await _model(exchange, request)
    runners = exchange.state.runners
    if request.loads and request.keep_alive == 0:
        runners.unload(model)
        await deliver(exchange, answer, only("unload"))
        return
    async with runners.lease(model, request.num_ctx, request.keep_alive) as runner:
        request.clock.mark_loaded()
        if request.loads:
            await deliver(exchange, answer, only("load"))
        elif request.shows_prompt and isinstance(answer, Lines):
            await exchange.reply(answer.prompt(await rendered(runner.llama, request.template())))
        else:
            async with runners.slot(runner):
                await deliver(exchange, answer, chunks_of(runner.llama, request, runner.num_ctx))


async def _embed(exchange: Exchange, request: EmbedRequest) -> None:
    try:
        model = await _model(exchange, request)
    except ModelNotFoundError as error:
        raise NotPulledError(request.model) from error
    runners = exchange.state.runners
    async with runners.lease(model, request.num_ctx, request.keep_alive) as runner:
        request.clock.mark_loaded()
        texts = await texts_as_tokens(runner.llama, request, runner.num_ctx)
        count = exchange.record.prompt_tokens = sum(map(len, texts))
        vectors = []
        if texts:
            async with runners.all_slots(runner):
                vectors = await embedded(runner.llama, texts)
        await exchange.reply(request.answer(vectors, count))


async def _model(exchange: Exchange, request: ChatRequest | GenerateRequest | EmbedRequest) -> Model:
    model = await exchange.state.catalogue.find(request.model)
    exchange.record.model = model.name.short
    request.check(model)
    return model
