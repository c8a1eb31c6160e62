"""OpenAI's API as Ollama serves it: chat completions and completions, and responses.

https://platform.openai.com/docs/api-reference/chat-streaming and …/responses-streaming
"""

import json
import random
import re
from typing import Any

from ..errors import GatewayError, UpstreamFailed
from .events import EventStream, data_of, fields_of, name_of
from .usage import usage_of
from .whole import Whole

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
}


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    """Ollama's rendering of OpenAI's errors, with the gateway's code."""
    kind = _TYPES.get(error.status, "api_error")
    return {"error": {"message": error.message, "type": kind, "param": None, "code": error.code}}


class WholeAnswer(Whole):
    """An answer that doesn't stream, with an id that no other answer has."""

    _REPEATED = re.compile(rb'(?<="id":")(chatcmpl-|cmpl-|resp_)\d+(?=")')

    def end(self) -> bytes:
        answer = super().end()
        if repeated := self._REPEATED.search(answer):
            answer = answer[: repeated.end(1)] + _token() + answer[repeated.end() :]
            self.size = len(answer)
        return answer


class Completions(EventStream):
    """`data: {chunk}` until `data: [DONE]`."""

    marks = (b"[DONE]", b'"error"', b'"usage":{', b'"model":""')
    plain = (b'"finish_reason":null}]}\n\n',)
    disguised = b'"model":""'

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._unique = _token()
        # How the chunks of this answer begin, up to the end of their id, and how they are to begin.
        self._beginning: tuple[bytes, bytes] | None = None

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
        if data_of(unit) == b"[DONE]":
            self.ended = True
            return
        fields = fields_of(unit)
        if fields is None:
            self.fail(UpstreamFailed("upstream sent an event that is not JSON"))
        elif "error" in fields:
            self.fail(UpstreamFailed(_message(fields["error"])))
        elif fields.get("model") == "":
            # What becomes of an error that Ollama meets midway: an empty chunk of no model.
            self.fail(UpstreamFailed("the model server failed in the middle of the answer"))
        else:
            self.usage = usage_of(fields) or self.usage


class Responses(EventStream):
    """Named events, the last of which is response.completed, .incomplete or .failed."""

    marks = (
        b"response.created",
        b"response.completed",
        b"response.incomplete",
        b"response.failed",
        b'"error"',
    )
    _last = (b"response.completed", b"response.incomplete", b"response.failed")

    def __init__(self, max_unit_bytes: int) -> None:
        super().__init__(max_unit_bytes)
        self._repeated = b""
        self._unique = b"resp_" + _token()
        self._response: dict[str, Any] = {"object": "response"}

    def error(self, error: GatewayError, request_id: str) -> bytes:
        number = self.events
        # OpenAI's client raises for an event with an `error` object; the documented fields stand beside it.
        told = {"type": "error", "code": error.code, "message": error.message, "param": None}
        told["error"] = error_body(error, request_id)["error"]
        reason = {"code": "server_error", "message": error.message}
        response = {**self._response, "id": self._unique.decode()}
        failed = {**response, "status": "failed", "error": reason}
        return _event({**told, "sequence_number": number}) + _event(
            {"type": "response.failed", "sequence_number": number + 1, "response": failed}
        )

    def frame(self, unit: bytes) -> bytes:
        if self._repeated:
            unit = unit.replace(b'"%b"' % self._repeated, b'"%b"' % self._unique)
        return unit

    def inspect(self, unit: bytes) -> None:
        name = name_of(unit)
        if name == b"response.created":
            fields = fields_of(unit) or {}
            self._response = {**self._response, **(fields.get("response") or {})}
            self._repeated = str(self._response.get("id", "")).encode()
        elif name in self._last:
            self.ended = True
            self.usage = usage_of((fields_of(unit) or {}).get("response") or {})
        elif name in (b"error", b"message") and "error" in (fields := fields_of(unit) or {}):
            self.fail(UpstreamFailed(_message(fields["error"])))


def _token() -> bytes:
    """For an id: Ollama draws its own from a thousand, or a million, numbers."""
    return b"%024x" % random.getrandbits(96)  # not a secret, and the system's are dear


def _message(error: object) -> str:
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _event(fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), json.dumps(fields).encode())
