"""Generating text: from a prompt to llama.cpp's chunks, shortened to fit the context first."""

from contextlib import aclosing
from typing import Any, Protocol

from ..errors import LlamaError
from .client import LlamaClient
from .message import Chunks, chat_chunk
from .tokens import Tokens

Body = dict[str, Any]


class Chat(Protocol):
    messages: list[Body]
    truncate: bool

    def llama_body(self) -> Body:
        """For /v1/chat/completions."""

    def template_body(self) -> Body:
        """For /apply-template."""


class Completion(Protocol):
    prompt: str
    raw: bool
    context: list[int]

    def llama_body(self, tokens: list[int]) -> Body:
        """For /completion."""

    def template_body(self) -> Body:
        """For /apply-template."""

    def fit_prompt(self, count: int, num_ctx: int) -> tuple[int, int]:
        """How many of a prompt's first and of its last tokens are evaluated."""


async def chat(llama: LlamaClient, request: Chat, num_ctx: int) -> Chunks:
    """A conversation too long for the context loses its oldest messages, as with Ollama."""
    body = request.llama_body()
    try:
        async with aclosing(llama.stream("/v1/chat/completions", body)) as chunks:
            async for chunk in chunks:
                yield chunk
        return
    except LlamaError as error:
        if not error.is_context_overflow or not request.truncate or len(request.messages) < 2:
            raise
    shorter = body | {"messages": await _newest_messages(llama, request, num_ctx)}
    async with aclosing(llama.stream("/v1/chat/completions", shorter)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _newest_messages(llama: LlamaClient, request: Chat, num_ctx: int) -> list[Body]:
    """All system messages and as many of the newest others as fit; at least the last one."""
    messages, template_body = request.messages, request.template_body()

    def without_oldest(count: int) -> list[Body]:
        system = [message for message in messages[:count] if message["role"] == "system"]
        return system + messages[count:]

    # Binary search: dropping none is too few, dropping all but the last has to be enough.
    too_few, enough = 0, len(messages) - 1
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        prompt = await apply_template(llama, template_body | {"messages": without_oldest(middle)})
        if (await tokenize(llama, prompt)).count < num_ctx:
            enough = middle
        else:
            too_few = middle
    return without_oldest(enough)


async def complete(llama: LlamaClient, request: Completion, num_ctx: int) -> Chunks:
    """The last chunk has the whole `context`, unless the prompt is raw."""
    # Even for a raw prompt: llama.cpp validates a format only where it applies the template.
    templated = await apply_template(llama, request.template_body())
    prompt = await tokenize(llama, request.prompt if request.raw else templated, not request.context)
    whole = prompt.after(request.context)
    tokens = whole.head_and_tail(*request.fit_prompt(whole.count, num_ctx))
    text = ""
    async with aclosing(llama.stream("/completion", request.llama_body(tokens))) as chunks:
        async for chunk in chunks:
            text += chunk["content"]
            converted = chat_chunk(chunk)
            if chunk["stop"] and not request.raw:
                converted["context"] = tokens + (await tokenize(llama, text, add_special=False)).all()
            yield converted


async def apply_template(llama: LlamaClient, template_body: Body) -> str:
    prompt: str = (await llama.post("/apply-template", template_body))["prompt"]
    return prompt


async def tokenize(llama: LlamaClient, text: str, add_special: bool = True) -> Tokens:
    body = {"content": text, "add_special": add_special, "parse_special": True}
    return Tokens.from_answer(await llama.post_for_bytes("/tokenize", body))
