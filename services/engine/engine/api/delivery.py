"""Sends llama.cpp's chunks to the client, rendered in its API."""

from contextlib import aclosing
from typing import Any, Protocol

from ..errors import RunnerDiedError
from ..inference.message import Chunk, Chunks, Message
from .exchange import Exchange


class Renderer(Protocol):
    """Renders an answer in one API."""

    stream: bool
    media_type: str
    message: Message

    def feed(self, chunk: Chunk) -> bytes:
        """Adds a chunk and returns what to send for it in a stream, possibly nothing."""

    def whole(self) -> dict[str, Any]:
        """The answer when it is not streamed."""


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
