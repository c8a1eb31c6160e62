"""Embedding texts: from texts to tokens that fit the context, and from those to vectors."""

from ..errors import EngineError
from .client import LlamaClient
from .generation import tokenize

Vector = list[float]


async def tokenize_input(
    llama: LlamaClient, text: str, num_ctx: int, overflow: EngineError | None
) -> list[int]:
    """The tokens of a text. One that is too long raises `overflow`, or is truncated if that is None."""
    tokens = await tokenize(llama, text)
    if tokens.count >= num_ctx:
        if overflow:
            raise overflow
        # The text itself is cut, so that the special tokens around it are added again.
        plain = await tokenize(llama, text, add_special=False)
        room = max(num_ctx - 2 - (tokens.count - plain.count), 1)
        shorter = (await llama.post("/detokenize", {"tokens": plain.head_and_tail(room, 0)}))["content"]
        return (await tokenize(llama, shorter)).head_and_tail(num_ctx - 1, 0)
    if not tokens.count:
        raise EngineError("Failed to create new sequence: no input provided")
    return tokens.all()


async def embed(llama: LlamaClient, inputs: list[list[int]]) -> list[Vector]:
    """One input at a time, so that a client that disconnects leaves little work behind."""
    vectors: list[Vector] = []
    for tokens in inputs:
        answer = await llama.post("/v1/embeddings", {"input": [tokens], "embd_normalize": -1})
        vectors.append(answer["data"][0]["embedding"])
    return vectors
