"""From a request to llama.cpp's chunks, and from them to the client's bytes, in any dialect."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from .errors import LlamaError, RunnerDiedError
from .exchange import Exchange
from .llama import Llama
from .message import Chunk, Message, from_completion
from .ollama_requests import ChatRequest, GenerateRequest
from .tokens import Tokens

Chunks = AsyncGenerator[Chunk, None]


class Renderer(Protocol):
    """An answer in one dialect."""

    stream: bool
    media_type: str
    message: Message

    def feed(self, chunk: Chunk) -> bytes: ...

    def whole(self) -> dict[str, Any]: ...


async def deliver(exchange: Exchange, renderer: Renderer, chunks: Chunks) -> None:
    message = renderer.message
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                data = renderer.feed(chunk)
                if data and renderer.stream:
                    if not exchange.started:
                        await exchange.begin(renderer.media_type)
                    await exchange.write(data)
        if not message.finish_reason:
            raise RunnerDiedError
    finally:
        exchange.state.metrics.tokens.inc(message.output_tokens)
        exchange.record.prompt_tokens = message.prompt_tokens
        exchange.record.output_tokens = message.output_tokens
    if renderer.stream:
        await exchange.end()
    else:
        await exchange.reply(renderer.whole())


def chunks_of(llama: Llama, request: ChatRequest | GenerateRequest, num_ctx: int) -> Chunks:
    if isinstance(request, ChatRequest):
        return _chat(llama, request, num_ctx)
    return _generate(llama, request, num_ctx)


async def _chat(llama: Llama, request: ChatRequest, num_ctx: int) -> Chunks:
    """A conversation that is too long for the context loses its oldest messages, as with Ollama."""
    body = request.llama()
    try:
        async with aclosing(llama.stream("/v1/chat/completions", body)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    except LlamaError as error:
        if not error.is_context_overflow or not request.truncate or len(request.messages) < 2:
            raise
    shorter = body | {"messages": await _newest(llama, request, num_ctx)}
    async with aclosing(llama.stream("/v1/chat/completions", shorter)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _newest(llama: Llama, request: ChatRequest, num_ctx: int) -> list[dict[str, Any]]:
    """As many of the newest messages as fit, with all system messages; at least the last."""
    messages, template = request.messages, request.template()

    def without(count: int) -> list[dict[str, Any]]:
        system = [message for message in messages[:count] if message["role"] == "system"]
        return system + messages[count:]

    # All of them are too many. Each message less makes the prompt shorter, so halving finds the place.
    too_many, enough = 0, len(messages) - 1
    while enough - too_many > 1:
        middle = (too_many + enough) // 2
        prompt = await rendered(llama, template | {"messages": without(middle)})
        if (await tokenize(llama, prompt)).count < num_ctx:
            enough = middle
        else:
            too_many = middle
    return without(enough)


async def rendered(llama: Llama, template: dict[str, Any]) -> str:
    prompt: str = (await llama.post("/apply-template", template))["prompt"]
    return prompt


async def _generate(llama: Llama, request: GenerateRequest, num_ctx: int) -> Chunks:
    """The last chunk has the whole `context`, unless the prompt is raw."""
    # llama.cpp checks a format only where it applies the template.
    templated = await rendered(llama, request.template())
    prompt = await tokenize(llama, request.prompt if request.raw else templated, not request.context)
    whole = prompt.after(request.context)
    tokens = whole.ends(*request.room(whole.count, num_ctx))
    text = ""
    async with aclosing(llama.stream("/completion", request.llama(tokens))) as chunks:
        async for chunk in chunks:
            text += chunk["content"]
            chat_chunk = from_completion(chunk)
            if chunk["stop"] and not request.raw:
                chat_chunk["context"] = tokens + (await tokenize(llama, text, add_special=False)).all()
            yield chat_chunk


async def tokenize(llama: Llama, text: str, add_special: bool = True) -> Tokens:
    body = {"content": text, "add_special": add_special, "parse_special": True}
    return Tokens.of_answer(await llama.post_for_bytes("/tokenize", body))
