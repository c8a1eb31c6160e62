"""From a body for llama.cpp to the client's bytes, in any dialect."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

from .errors import EngineError, LlamaError, RunnerDiedError
from .exchange import Exchange
from .llama import Llama
from .message import Chunk, Message, from_completion
from .ollama_requests import ContextOverflowError, FormatError, GenerateRequest, fitted, shortened

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


async def chat_chunks(llama: Llama, body: dict[str, Any], truncate: bool) -> Chunks:
    """A conversation that is too long for the context loses its oldest messages, as with Ollama."""
    while True:
        try:
            async with aclosing(llama.stream("/v1/chat/completions", body)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except LlamaError as error:
            if not error.is_context_overflow:
                raise _named(error) from error
            if not truncate:
                raise ContextOverflowError from error
            body = {**body, "messages": shortened(body["messages"])}


async def generate_chunks(llama: Llama, request: GenerateRequest, num_ctx: int) -> Chunks:
    """The last chunk has the whole `context`, unless the prompt is raw."""
    prompt = request.prompt
    # llama.cpp checks a format only where it applies the template.
    try:
        templated = (await llama.post("/apply-template", request.template()))["prompt"]
    except LlamaError as error:
        raise _named(error) from error
    if not request.raw:
        prompt = templated
    tokens = request.context + await tokenize(llama, prompt, not request.context)
    if len(tokens) >= num_ctx and not request.truncate:
        raise ContextOverflowError
    tokens = fitted(tokens, num_ctx, request.options.get("num_keep", 4))
    text = ""
    async with aclosing(llama.stream("/completion", request.llama(tokens))) as chunks:
        async for chunk in chunks:
            text += chunk["content"]
            chat_chunk = from_completion(chunk)
            if chunk["stop"] and not request.raw:
                chat_chunk["context"] = tokens + await tokenize(llama, text, add_special=False)
            yield chat_chunk


async def tokenize(llama: Llama, text: str, add_special: bool = True) -> list[int]:
    body = {"content": text, "add_special": add_special, "parse_special": True}
    tokens: list[int] = (await llama.post("/tokenize", body))["tokens"]
    return tokens


def _named(error: LlamaError) -> EngineError:
    if "JSON schema" in error.message or "grammar" in error.message:
        return FormatError("invalid JSON schema in format")
    return error
