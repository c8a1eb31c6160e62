"""OpenAI's API as Ollama serves it: chat completions and completions, and responses.

https://platform.openai.com/docs/api-reference/chat-streaming and …/responses-streaming
"""

import json
import random
import re
from typing import Any

import msgspec

from ..errors import CallerQueueFull, GatewayError, RateLimited, UpstreamFailed
from .decoding import message_of, parsed
from .events import DATA, DONE, EventStream, data_of, name_of, named_event
from .usage import usage_of
from .whole import Whole


class Chunk(msgspec.Struct):
    """The fields of a completion chunk that the gateway reads."""

    model: Any = None
    usage: Any = None
    error: Any = None


class Event(msgspec.Struct):
    """The fields of a response event that the gateway reads."""

    type: Any = None
    response: Any = None
    error: Any = None
    message: Any = None


CHUNKS = msgspec.json.Decoder(Chunk)
EVENTS = msgspec.json.Decoder(Event)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
}


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """OpenAI's error shape as Ollama writes it, with the gateway's code; of rate limits OpenAI's own."""
    kind, code = _TYPES.get(error.status, "api_error"), error.code
    if isinstance(error, RateLimited | CallerQueueFull):
        kind, code = error.unit, "rate_limit_exceeded"
    return {"error": {"message": error.message, "type": kind, "param": None, "code": code}}


def is_error_body(fields: dict[str, Any]) -> bool:
    return isinstance(fields.get("error"), dict)


class WholeAnswer(Whole):
    """A complete answer, with a unique id instead of Ollama's repeating one."""

    _REPEATED = re.compile(rb'(?<="id":")(chatcmpl-|cmpl-|resp_)\d+(?=")')

    def end(self) -> bytes:
        answer = super().end()
        if repeated := self._REPEATED.search(answer):
            answer = answer[: repeated.end(1)] + _token() + answer[repeated.end() :]
            self.size = len(answer)
        return answer


class Completions(EventStream):
    """`data: {chunk}` until `data: [DONE]`."""

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._unique = _token()
        # Beginning of this answer's chunks up to the end of their id, and its replacement.
        self._beginning: tuple[bytes, bytes] | None = None
        self._last = b""  # the last chunk of the answer

    def error(self, error: GatewayError, request_id: str) -> bytes:
        body = json.dumps(error_body(error, request_id)).encode()
        return b"data: %b\n\ndata: [DONE]\n\n" % body

    def frame(self, unit: bytes) -> bytes:
        if self._beginning and unit.startswith(self._beginning[0]):
            return self._beginning[1] + unit[len(self._beginning[0]) :]
        start = unit.find(b'"id":"')
        dash = unit.find(b"-", start)
        end = unit.find(b'"', start + 6)
        if 0 <= start < dash < end and start < 16:  # the chunk's own id, which comes first
            self._beginning = unit[: end + 1], b'%b%b"' % (unit[: dash + 1], self._unique)
            return self._beginning[1] + unit[end + 1 :]
        return unit

    def inspect(self, unit: bytes) -> None:
        try:
            # Fast path for nearly every chunk.
            chunk = CHUNKS.decode(unit[len(DATA) :]) if unit.startswith(DATA) and unit.isascii() else None
        except (ValueError, RecursionError):
            chunk = None
        if chunk is None:
            if data_of(unit) == DONE:
                self.ended = True
                return
            chunk = self.read(CHUNKS, unit)
        if chunk is None:
            return
        if chunk.error is not None:
            self.fail(UpstreamFailed(message_of(chunk.error)))
        elif chunk.model == "":
            # Ollama turns an error midway into an empty chunk without a model.
            self.fail(UpstreamFailed("the model server failed in the middle of the answer"))
        else:
            self._last = unit
            if chunk.usage is not None:
                usage = usage_of({"usage": chunk.usage})
                # Until the last chunk of a completion Ollama reports zeros.
                self.usage = usage if usage and usage.prompt_tokens else self.usage

    def cut(self) -> bytes:
        last = parsed(data_of(self.frame(self._last))) or {}
        end = b"data: [DONE]\n\n"
        match last.get("choices"):
            case None | [] | [{"finish_reason": str()}, *_]:
                return end  # the answer is complete, only its usage may be missing
        text: dict[str, Any] = {"text": ""} if last.get("object") == "text_completion" else {"delta": {}}
        last["choices"] = [{**text, "index": 0, "finish_reason": "length"}]
        last.pop("usage", None)
        return b"data: %b\n\n%b" % (json.dumps(last).encode(), end)


class Responses(EventStream):
    """Named events, the last of which is response.completed, .incomplete or .failed."""

    _last = ("response.completed", "response.incomplete", "response.failed")

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._repeated: re.Pattern[bytes] | None = None
        self._unique = b"resp_" + _token()
        self._response: dict[str, Any] = {"object": "response"}

    @property
    def next_number(self) -> int:
        """The number of the next event; Ollama numbers them from 0."""
        return self.events

    @property
    def response(self) -> dict[str, Any]:
        """The response as it was when it began."""
        return {**self._response, "id": self._unique.decode()}

    def error(self, error: GatewayError, request_id: str) -> bytes:
        failed = {**self.response, **self.failed(error)}
        last = {"type": "response.failed", "sequence_number": self.next_number + 1, "response": failed}
        return self.interruption(error, request_id) + named_event(last)

    def interruption(self, error: GatewayError, request_id: str) -> bytes:
        # OpenAI's client raises for an event with an `error` object; the documented fields are added to it.
        detail = {"type": "error", "code": error.code, "message": error.message, "param": None}
        detail["error"] = error_body(error, request_id)["error"]
        return named_event({**detail, "sequence_number": self.next_number})

    def failed(self, error: GatewayError) -> dict[str, Any]:
        """What a response that has failed says of it."""
        return {"status": "failed", "error": {"code": "server_error", "message": error.message}}

    def cut(self) -> bytes:
        details = {"reason": "max_output_tokens"}
        response = {**self.response, "status": "incomplete", "incomplete_details": details}
        return named_event(
            {"type": "response.incomplete", "sequence_number": self.next_number, "response": response}
        )

    def frame(self, unit: bytes) -> bytes:
        return self._repeated.sub(rb"\g<1>" + self._unique, unit) if self._repeated else unit

    def inspect(self, unit: bytes) -> None:
        event = self.read(EVENTS, unit)
        if event is None:
            return
        kind = event.type or name_of(unit).decode(errors="replace")
        response = event.response if isinstance(event.response, dict) else {}
        if kind == "error" or event.error is not None:
            self.fail(UpstreamFailed(message_of(event.error or event.message)))
        elif kind == "response.created":
            self._response = {**self._response, **response}
            if repeated := str(response.get("id") or ""):
                # Only as an id: the generated text may contain the same characters.
                self._repeated = re.compile(rb'("id"\s*:\s*")' + re.escape(repeated.encode()) + rb'(?=")')
        elif kind in self._last:
            self.ended = True
            self.usage = usage_of(response)


def _token() -> bytes:
    """A unique id: Ollama draws its own from only a thousand, or a million, numbers."""
    return b"%024x" % random.getrandbits(96)  # not a secret, and os.urandom is slow
