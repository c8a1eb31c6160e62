"""Requests of /v1/embeddings and their answers. No I/O."""

import base64
import struct
from typing import Any

from ...errors import BadRequestError
from ...inference.embedding import Vector
from ..gojson.structs import Fields, checked
from ..ollama.embeddings import EmbedRequest, rounded

_FIELDS: Fields = {"model": "string", "input": "any", "dimensions": "int", "encoding_format": "string"}
_SUPPORTED = "Supported values: ['float', 'base64']."


class OpenAIEmbedRequest(EmbedRequest):
    def __init__(self, raw: object) -> None:
        body = checked(raw, _FIELDS, "Go value of type openai.EmbedRequest", "EmbedRequest")
        encoding = body.get("encoding_format", "")
        if encoding.lower() not in ("", "float", "base64"):
            raise BadRequestError(f"Invalid value for 'encoding_format' = {encoding}. {_SUPPORTED}")
        if body.get("input") in (None, []):
            raise BadRequestError("invalid input")
        self._base64 = encoding.lower() == "base64"
        names = ("model", "dimensions")
        self._init({n: body[n] for n in names if n in body}, body["input"])

    def answer(self, vectors: list[Vector], tokens: int) -> dict[str, Any]:
        data = [
            {"object": "embedding", "embedding": self._encode(self._finish(vector)), "index": index}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}

    def _encode(self, vector: Vector) -> Vector | str:
        if self._base64:
            return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        return rounded(vector)
