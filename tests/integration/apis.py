"""Every API that streams, as cases for tests of what holds for all of them."""

import json
import re
from dataclasses import dataclass
from typing import Any

from gateway.ask.route import Route
from tests.fakes.answers import ANSWERS, Answer

USER = {"role": "user", "content": "hi"}


def sent(route: Route, fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` as httpx arguments, in the kind of body that `route` accepts."""
    if not route.form:
        return {"json": fields}
    texts = [(name, (None, value)) for name, value in fields.items() if isinstance(value, str)]
    return {"files": [*texts, ("file", ("hi.wav", b"RIFF\r\n--x"))]}


@dataclass(frozen=True)
class Case:
    """`terminal` matches what ends an answer, exactly once; `error` matches what reports a failure."""

    name: str
    path: str
    dialect: str
    fields: dict[str, Any]
    terminal: str
    error: str

    @property
    def answer(self) -> Answer:
        return ANSWERS[self.dialect]

    def request(self, model: str, **fields: Any) -> dict[str, Any]:
        return {"model": model, "stream": True, **self.fields, **fields}

    def terminals(self, body: bytes) -> int:
        return len(re.findall(self.terminal, body.decode(), re.MULTILINE))

    def tells_an_error(self, body: bytes) -> bool:
        return bool(re.search(self.error, body.decode(), re.MULTILINE))

    def same(self, body: bytes) -> bytes:
        """The answer without its random parts."""
        return re.sub(rb"resp_[0-9a-z]+", b"resp_1", re.sub(rb"chatcmpl-[0-9a-z]+", b"chatcmpl-7", body))


CHAT = Case("chat", "/chat", "ChatSSE", {"messages": [USER]}, r'"done":true|^event: error$', "^event: error$")
_NATIVE = r'"done":true|^ *\{"error"'
CASES = [
    CHAT,
    Case("api chat", "/api/chat", "Ndjson", {"messages": [USER]}, _NATIVE, r'^ *\{"error"'),
    Case("api generate", "/api/generate", "Ndjson", {"prompt": "hi"}, _NATIVE, r'^ *\{"error"'),
    Case(
        "openai chat",
        "/v1/chat/completions",
        "Completions",
        {"messages": [USER]},
        r"^data: \[DONE\]$",
        r'^data: \{"error"',
    ),
    Case(
        "openai completion",
        "/v1/completions",
        "Completions",
        {"prompt": "hi"},
        r"^data: \[DONE\]$",
        r'^data: \{"error"',
    ),
    Case(
        "openai response",
        "/v1/responses",
        "Responses",
        {"input": "hi"},
        r"^event: response\.(completed|failed|incomplete)$",
        "^event: error$",
    ),
    Case(
        "anthropic",
        "/v1/messages",
        "Messages",
        {"messages": [USER], "max_tokens": 5},
        "^event: message_stop$",
        "^event: error$",
    ),
]


def whole_answer(case: Case) -> bytes:
    """The body of a request that doesn't stream."""
    return json.dumps({"for": case.name}).encode()
