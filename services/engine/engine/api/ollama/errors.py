"""Ollama's errors."""

from typing import Any

from ...errors import EngineError
from ..gojson import codec


class OllamaErrors:
    def body(self, error: EngineError) -> dict[str, Any]:
        return {"error": error.message}

    def event(self, error: EngineError) -> bytes:
        return codec.encode_line(self.body(error))
