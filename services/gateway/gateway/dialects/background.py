"""OpenAI's responses that are made in the background.

https://platform.openai.com/docs/guides/background
"""

import json
import time
from typing import Any

from ..errors import AnswerCancelled, GatewayError
from .decoding import decoded
from .events import data_of, name_of, named_event
from .openai import EVENTS, Responses

ID = "resp_"
CREATED = b"response.created"


class Background(Responses):
    """The events of such a response, whose id is that of its kept answer.

    The first one does not wait for the model server, so that a client knows the id early. It takes the place
    of Ollama's, and all others keep their numbers.
    """

    def __init__(self, max_unit_bytes: int, answer_id: str, model: str) -> None:
        super().__init__(max_unit_bytes)
        self._unique = f"{ID}{answer_id}".encode()
        self._response = _queued(model)
        self.opening = named_event(
            {"type": CREATED.decode(), "sequence_number": 0, "response": self.response}
        )

    def open(self, status: int, media_type: str) -> None:
        """It has been asked for as a stream, and whoever comes later expects events."""

    @property
    def next_number(self) -> int:
        return max(1, self.events)

    def frame(self, unit: bytes) -> bytes:
        if self.events == 1 and name_of(unit) == CREATED:
            return b""
        return super().frame(unit)

    def memo(self) -> bytes:
        return json.dumps(self._response).encode()

    def recall(self, memo: bytes, events: int) -> None:
        super().recall(memo, events)
        self._response = json.loads(memo)

    def failed(self, error: GatewayError) -> dict[str, Any]:
        if isinstance(error, AnswerCancelled):
            return {"status": "cancelled", "error": None}
        return super().failed(error)


def response_in(event: bytes) -> dict[str, Any]:
    """The response as the last event of its stream has it."""
    fields = decoded(EVENTS, data_of(event))
    return fields.response if fields and isinstance(fields.response, dict) else {}


def _queued(model: str) -> dict[str, Any]:
    """What the clients' types require; Ollama's own response has more."""
    return {
        "object": "response",
        "created_at": int(time.time()),
        "status": "queued",
        "background": True,
        "model": model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
    }
