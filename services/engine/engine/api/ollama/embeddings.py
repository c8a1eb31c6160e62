"""Requests of /api/embed and the older /api/embeddings, and their answers. No I/O."""

import math
from typing import Any

from ...durations import keep_alive_seconds
from ...errors import BadRequestError, InputTooLongError, ModelNotFoundError
from ...inference.embedding import Vector
from ...models.model import Model
from ..gojson.structs import Fields, checked
from ..timing import Timing
from .options import checked_options, context_size

Body = dict[str, Any]

_SHARED: Fields = {"model": "string", "keep_alive": "any", "options": "map[string]interface {}"}
_EMBED: Fields = {**_SHARED, "input": "any", "truncate": "bool", "dimensions": "int"}
_LEGACY: Fields = {**_SHARED, "prompt": "string"}


class EmbedRequest:
    """/api/embed, and the base of the other two APIs' requests."""

    def __init__(self, raw: object) -> None:
        body = checked(raw, _EMBED, "Go value of type api.EmbedRequest", "EmbedRequest")
        # A lone empty string counts as no input, except in OpenAI's API.
        self._init(body, body.get("input") if body.get("input") != "" else None)

    def _init(self, body: Body, value: object) -> None:
        self.timing = Timing()
        self.model: str = body.get("model", "")
        self.truncate: bool = body.get("truncate", True)
        self.keep_alive = keep_alive_seconds(body["keep_alive"]) if "keep_alive" in body else None
        self._dimensions: int = body.get("dimensions", 0)
        self._options: Body = body.get("options", {})
        if not self.model:
            raise ModelNotFoundError(self.model)
        self.texts = _texts(value)

    def check(self, model: Model) -> None:
        """Parses the options, at the same point as Ollama. Every model can embed."""
        self.num_ctx = context_size(checked_options(self._options))

    def overflow(self) -> InputTooLongError:
        """The error for a text that exceeds the context and may not be truncated."""
        return InputTooLongError()

    def answer(self, vectors: list[Vector], tokens: int) -> Body:
        vectors = [rounded(self._finish(vector)) for vector in vectors]
        answer: Body = {"model": self.model, "embeddings": vectors}
        if vectors:
            answer |= {"total_duration": self.timing.total, "load_duration": self.timing.load}
            answer["prompt_eval_count"] = tokens
        return answer

    def _finish(self, vector: Vector) -> Vector:
        """Cuts a vector to the requested dimensions and normalises it."""
        return normalised(vector[: self._dimensions] if self._dimensions > 0 else vector)


class LegacyEmbedRequest(EmbedRequest):
    """/api/embeddings, which neither truncates texts nor normalises vectors."""

    def __init__(self, raw: object) -> None:
        body = checked(raw, _LEGACY, "Go value of type api.EmbeddingRequest", "EmbeddingRequest")
        if not body.get("model"):
            raise BadRequestError("model is required")
        names = ("model", "options", "keep_alive")
        prompt = body.get("prompt")
        self._init({n: body[n] for n in names if n in body} | {"truncate": False}, prompt or None)

    def overflow(self) -> InputTooLongError:
        return InputTooLongError(status=500)

    def answer(self, vectors: list[Vector], tokens: int) -> Body:
        return {"embedding": vectors[0] if vectors else []}


def normalised(vector: Vector) -> Vector:
    length = max(math.hypot(*vector), 1e-12)
    return [number / length for number in vector]


def _texts(value: object) -> list[str]:
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadRequestError("invalid input type")
    return texts


def rounded(vector: Vector) -> Vector:
    """Nine digits are enough for 32-bit floats; Python would print seventeen."""
    return [float(f"{number:.9g}") for number in vector]
