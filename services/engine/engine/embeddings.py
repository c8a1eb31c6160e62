"""Embeddings in Ollama's API, its older one and OpenAI's, without I/O: requests and their answers."""

import base64
import math
import struct
from typing import Any

from .catalogue import Model
from .clock import Clock
from .durations import keep_alive_seconds
from .errors import BadRequestError, InputTooLongError, ModelNotFoundError
from .fields import Fields, checked
from .options import checked_options, context_size

Body = dict[str, Any]
Vector = list[float]

_SHARED: Fields = {"model": "string", "keep_alive": "any", "options": "map[string]interface {}"}
_EMBED: Fields = {**_SHARED, "input": "any", "truncate": "bool", "dimensions": "int"}
_LEGACY: Fields = {**_SHARED, "prompt": "string"}
_OPENAI: Fields = {"model": "string", "input": "any", "dimensions": "int", "encoding_format": "string"}

_SUPPORTED = "Supported values: ['float', 'base64']."


class EmbedRequest:
    """/api/embed; its subclasses are the other two."""

    def __init__(self, raw: object) -> None:
        body = checked(raw, _EMBED, "Go value of type api.EmbedRequest", "EmbedRequest")
        # An empty text by itself is no text, except in OpenAI's API.
        self._take(body, body.get("input") if body.get("input") != "" else None)

    def _take(self, body: Body, given: object) -> None:
        self.clock = Clock()
        self.model: str = body.get("model", "")
        self.truncate: bool = body.get("truncate", True)
        self.keep_alive = keep_alive_seconds(body["keep_alive"]) if "keep_alive" in body else None
        self._dimensions: int = body.get("dimensions", 0)
        self._options: Body = body.get("options", {})
        if not self.model:
            raise ModelNotFoundError(self.model)
        self.texts = _texts(given)

    def check(self, model: Model) -> None:
        """Reads the options, in the order of Ollama: every model can embed."""
        self.num_ctx = context_size(checked_options(self._options))

    def overflow(self) -> InputTooLongError:
        return InputTooLongError()

    def answer(self, vectors: list[Vector], tokens: int) -> Body:
        vectors = [[_shortest(number) for number in self._finished(vector)] for vector in vectors]
        answer: Body = {"model": self.model, "embeddings": vectors}
        if vectors:
            answer |= {"total_duration": self.clock.total, "load_duration": self.clock.load}
            answer["prompt_eval_count"] = tokens
        return answer

    def _finished(self, vector: Vector) -> Vector:
        """Of length 1, and of as many dimensions as were asked for."""
        return normalised(vector[: self._dimensions] if self._dimensions > 0 else vector)


class LegacyEmbedRequest(EmbedRequest):
    """/api/embeddings, which neither truncates nor normalises."""

    def __init__(self, raw: object) -> None:
        body = checked(raw, _LEGACY, "Go value of type api.EmbeddingRequest", "EmbeddingRequest")
        if not body.get("model"):
            raise BadRequestError("model is required")
        names = ("model", "options", "keep_alive")
        prompt = body.get("prompt")
        self._take({n: body[n] for n in names if n in body} | {"truncate": False}, prompt or None)

    def overflow(self) -> InputTooLongError:
        error = InputTooLongError()
        error.status = 500
        return error

    def answer(self, vectors: list[Vector], tokens: int) -> Body:
        return {"embedding": vectors[0] if vectors else []}


class OpenAIEmbedRequest(EmbedRequest):
    """/v1/embeddings."""

    def __init__(self, raw: object) -> None:
        body = checked(raw, _OPENAI, "Go value of type openai.EmbedRequest", "EmbedRequest")
        encoding = body.get("encoding_format", "")
        if encoding.lower() not in ("", "float", "base64"):
            raise BadRequestError(f"Invalid value for 'encoding_format' = {encoding}. {_SUPPORTED}")
        if body.get("input") in (None, []):
            raise BadRequestError("invalid input")
        self._base64 = encoding.lower() == "base64"
        names = ("model", "dimensions")
        self._take({n: body[n] for n in names if n in body}, body["input"])

    def answer(self, vectors: list[Vector], tokens: int) -> Body:
        entries = [
            {"object": "embedding", "embedding": self._encoded(self._finished(vector)), "index": index}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": entries, "model": self.model, "usage": usage}

    def _encoded(self, vector: Vector) -> Vector | str:
        if self._base64:
            return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return [_shortest(number) for number in vector]


def normalised(vector: Vector) -> Vector:
    length = max(math.hypot(*vector), 1e-12)
    return [number / length for number in vector]


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequestError("invalid input type")
    return texts


def _shortest(number: float) -> float:
    """Nine digits say all of a 32-bit number; Python would write seventeen."""
    return float(f"{number:.9g}")
