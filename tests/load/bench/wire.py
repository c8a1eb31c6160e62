"""Requests, and answers whose tokens contain the time at which they were sent."""

import json
import secrets
from dataclasses import dataclass

# A token's text is this marker and its time in nanoseconds, which every translation preserves.
MARK = b"@"
DIGITS = 18
_NEXT = len(MARK) + DIGITS

# LiteLLM requires a key; it is sent to all systems, as OpenAI's clients do.
KEY = f"sk-{secrets.token_hex(32)}"

PACE_SECONDS = 0.05
SHORT = "short"  # one token
IDLE = "idle"  # one token, and silence after it
FLOOD = "flood"  # all of FLOOD_LINES at once, and silence after them
ENDLESS = "paced:100000"
ANSWER_TOKENS = 20  # of an answer that doesn't stream


def paced(tokens: int) -> str:
    """The name of a model that answers with `tokens` tokens, one every PACE_SECONDS."""
    return f"paced:{tokens}"


MODELS = (SHORT, IDLE, FLOOD, ENDLESS, paced(1200), *(paced(tokens) for tokens in range(1, 151)))


@dataclass(frozen=True)
class Dialect:
    """`token` has a placeholder for the time; `last` ends an answer and contains `terminal`."""

    path: str
    media_type: str
    token: bytes
    last: bytes
    terminal: bytes
    whole: bytes

    def request(self, model: str, *, stream: bool = True, keep: bool = False) -> bytes:
        fields = {
            "model": model,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Why is the sky blue? Answer in a few sentences."},
            ],
            "stream": stream,
        }
        body = json.dumps(fields, separators=(",", ":")).encode()
        connection = "keep-alive" if keep else "close"
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n"
            f"Authorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


_TIME = MARK + b"%0" + str(DIGITS).encode() + b"d"
_LINE = b'{"model":"paced","created_at":"2026-01-01T12:00:00.123456789Z","message":{"role":"assistant","content":"%s"},"done":%s}'  # noqa: E501
_COUNTS = b'true,"done_reason":"stop","total_duration":1000000,"load_duration":100000,"prompt_eval_count":30,"prompt_eval_duration":100000,"eval_count":20,"eval_duration":800000'  # noqa: E501
# Short lines, because the cost is per line and not per byte. For the client they become 2 MB.
FLOOD_LINES = b'{"message":{"content":"x"},"done":false}\n' * 20_000
_CHUNK = b'data: {"id":"chatcmpl-42","object":"chat.completion.chunk","created":1767268800,"model":"paced","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"%s"},"finish_reason":%s}]}\n\n'  # noqa: E501
_COMPLETION = b'{"id":"chatcmpl-42","object":"chat.completion","created":1767268800,"model":"paced","system_fingerprint":"fp_ollama","choices":[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],"usage":{"prompt_tokens":30,"completion_tokens":20,"total_tokens":50}}'  # noqa: E501
_TEXT = b"The sky is blue. " * (ANSWER_TOKENS // 5)

OLLAMA = Dialect(
    "/api/chat",
    "application/x-ndjson",
    _LINE % (_TIME, b"false") + b"\n",
    _LINE % (b"", _COUNTS) + b"\n",
    b'"done":true',
    _LINE % (_TEXT, _COUNTS),
)
# Upstream only uses this dialect in place of the gateway, behind nginx alone.
CHAT = Dialect(
    "/chat",
    "text/event-stream",
    b"id: 7\ndata: " + _LINE % (_TIME, b"false") + b"\n\n",
    b"id: 8\ndata: " + _LINE % (b"", _COUNTS) + b"\n\n",
    b'"done":true',
    OLLAMA.whole,
)
OPENAI = Dialect(
    "/v1/chat/completions",
    "text/event-stream",
    _CHUNK % (_TIME, b"null"),
    _CHUNK % (b"", b'"stop"') + b"data: [DONE]\n\n",
    b"[DONE]",
    _COMPLETION % _TEXT,
)
DIALECTS = (CHAT, OLLAMA, OPENAI)


def stamps(data: bytes) -> tuple[int, list[int]]:
    """How many tokens begin in `data`, and the times of those that are complete."""
    begun, times = 0, []
    at = data.find(MARK)
    while at >= 0:
        begun += 1
        digits = data[at + 1 : at + _NEXT]
        # A number that is split between two reads or HTTP chunks is skipped.
        if len(digits) == DIGITS and digits.isdigit():
            times.append(int(digits))
        at = data.find(MARK, at + 1)
    return begun, times
