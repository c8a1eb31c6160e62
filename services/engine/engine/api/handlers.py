"""What the routes that run a model do, in every API."""

from collections.abc import Callable
from typing import TypeVar

from ..errors import ModelNotFoundError, NotPulledError
from ..inference.embedding import embed, tokenize_input
from ..inference.generation import apply_template
from ..inference.message import empty_answer
from ..models.model import Model
from .delivery import Renderer, deliver
from .exchange import Exchange, Handler
from .ollama.answers import Lines
from .ollama.embeddings import EmbedRequest
from .ollama.requests import AnswerRequest

Request = TypeVar("Request", bound=AnswerRequest)


def answers(
    request_type: Callable[[object], Request], renderer_type: Callable[[Request], Renderer]
) -> Handler:
    """A handler that generates text."""

    async def handler(exchange: Exchange, body: object) -> None:
        request = request_type(body)
        await _answer(exchange, request, renderer_type(request))

    return handler


def embeds(request_type: Callable[[object], EmbedRequest]) -> Handler:
    """A handler that embeds texts."""

    async def handler(exchange: Exchange, body: object) -> None:
        await _embed(exchange, request_type(body))

    return handler


async def _answer(exchange: Exchange, request: AnswerRequest, renderer: Renderer) -> None:
    model = await _find(exchange, request)
    scheduler = exchange.state.scheduler
    if request.only_loads and request.keep_alive == 0:
        scheduler.unload(model)
        await deliver(exchange, renderer, empty_answer("unload"))
        return
    async with scheduler.lease(model, request.num_ctx, request.keep_alive) as runner:
        request.timing.mark_loaded()
        if request.only_loads:
            await deliver(exchange, renderer, empty_answer("load"))
        elif request.prompt_only and isinstance(renderer, Lines):
            prompt = await apply_template(runner.llama, request.template_body())
            await exchange.reply(renderer.rendered_prompt(prompt))
        else:
            async with runner.slot():
                await deliver(exchange, renderer, request.chunks(runner.llama, runner.num_ctx))


async def _embed(exchange: Exchange, request: EmbedRequest) -> None:
    try:
        model = await _find(exchange, request)
    except ModelNotFoundError as error:
        raise NotPulledError(request.model) from error
    async with exchange.state.scheduler.lease(model, request.num_ctx, request.keep_alive) as runner:
        request.timing.mark_loaded()
        overflow = None if request.truncate else request.overflow()
        inputs = [
            await tokenize_input(runner.llama, text, runner.num_ctx, overflow) for text in request.texts
        ]
        count = exchange.record.prompt_tokens = sum(map(len, inputs))
        vectors = []
        if inputs:
            async with runner.all_slots():
                vectors = await embed(runner.llama, inputs)
        await exchange.reply(request.answer(vectors, count))


async def _find(exchange: Exchange, request: AnswerRequest | EmbedRequest) -> Model:
    model = await exchange.state.catalogue.find(request.model)
    exchange.record.model = model.name.short
    request.check(model)
    return model
