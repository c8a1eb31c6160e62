"""From texts to vectors, with llama.cpp."""

from .embeddings import EmbedRequest, Vector
from .errors import EngineError
from .generation import tokenize
from .llama import Llama


async def texts_as_tokens(llama: Llama, request: EmbedRequest, num_ctx: int) -> list[list[int]]:
    return [await _fitted(llama, request, text, num_ctx) for text in request.texts]


async def embedded(llama: Llama, texts: list[list[int]]) -> list[Vector]:
    """One text after the other: a client that leaves then leaves little behind."""
    vectors: list[Vector] = []
    for tokens in texts:
        answer = await llama.post("/v1/embeddings", {"input": [tokens], "embd_normalize": -1})
        vectors.append(answer["data"][0]["embedding"])
    return vectors


async def _fitted(llama: Llama, request: EmbedRequest, text: str, num_ctx: int) -> list[int]:
    tokens = await tokenize(llama, text)
    if tokens.count >= num_ctx:
        if not request.truncate:
            raise request.overflow()
        # The beginning of the text, so that the marks the model wants around it are put there again.
        plain = await tokenize(llama, text, add_special=False)
        room = max(num_ctx - 2 - (tokens.count - plain.count), 1)
        shorter = (await llama.post("/detokenize", {"tokens": plain.ends(room, 0)}))["content"]
        return (await tokenize(llama, shorter)).ends(num_ctx - 1, 0)
    if not tokens.count:
        raise EngineError("Failed to create new sequence: no input provided")
    return tokens.all()
