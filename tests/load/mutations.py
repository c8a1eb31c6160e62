"""Malformed requests: valid ones for every route, mutated at random."""

import json
import random

from gateway.ask.route import Route
from gateway.routes.table import CHAT_ROUTE, PASSED_ON

DIGEST = "sha256:" + "0" * 64

OWN_PATHS = (
    b"GET /health",
    b"GET /healthz",
    b"HEAD /healthz",
    b"GET /readyz",
    b"GET /metrics",
    b"GET /docs",
    b"GET /openapi.json",
)

# Bytes that have caused errors in HTTP servers.
TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"'",
        b'"',
        b"{",
        b"}",
        b"\\",
        b"?",
        b"#",
        b"/",
    ),
    *(
        b"//",
        b"..",
        b"/../",
        b"%2e%2e%2f",
        b"%00",
        b"%0d%0a",
        b"\xff",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        b"\\ud800",
    ),
    *(b"-1", b"1e999", b"99999999999999999999", b"NaN", b"null", b"true", b"[" * 2000, b"a" * 9000),
    *(b'"model":"other",', b'"MODEL":"other",', b'"stream":false,'),
    *(b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"X: y\r\n" * 300),
    b"Connection: keep-alive, Authorization\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Type: \xff\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: other\r\n",
    b"Origin: https://evil.example\r\n",
    b"Range: bytes=0-1\r\n",
    b"traceparent: 00-0-0-00\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Connection: close, Upgrade\r\nUpgrade: h2c\r\n",
    b"X-Accel-Redirect: @retry\r\n",
    b"X-Failed-Try: @retry\r\n",
    b"X-Forwarded-For: 203.0.113.7\r\n",
    b"X-Request-Id: \xff\r\n",
)

METHODS = (
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"get",
    b"X",
)


def valid_requests(key: str) -> list[bytes]:
    """One request for every route, with a Content-Length and in chunks."""
    requests = [
        b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %b\r\n\r\n"
        % (path, key.encode())
        for path in OWN_PATHS
    ]
    for route in (CHAT_ROUTE, *PASSED_ON):
        body = _body(route)
        chunks = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (body[:5], len(body[5:]), body[5:]) if body else b""
        framings = [(f"Content-Length: {len(body)}\r\n".encode(), body)] if body else [(b"", b"")]
        if body:
            framings.append((b"Transfer-Encoding: chunked\r\n", chunks))
        for framing, content in framings:
            header = b"X-Api-Key: " if route.api.name == "anthropic" else b"Authorization: Bearer "
            path = (
                route.path.replace("{digest}", DIGEST).replace("{model:path}", "good").replace("{key}", "a")
            )
            head = f"{route.method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
            kind = b"multipart/form-data; boundary=B" if route.form else b"application/json"
            typed = b"Content-Type: %b\r\n" % kind if body else b""
            requests.append(b"%b%b%b\r\n%b%b\r\n%b" % (head, header, key.encode(), typed, framing, content))
    return requests


def _body(route: Route) -> bytes:
    if route.method in ("GET", "HEAD"):
        return b""
    if route.form:
        part = b'--B\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        return part % (b"model", b"good") + part % (b'file"; filename="a', b"\0\r\n--") + b"--B--\r\n"
    message = {"role": "user", "content": "héllo \u2028"}
    fields = {"model": "good", "messages": [message], "prompt": "hi", "input": "hi", "source": "good"}
    return json.dumps({**fields, "destination": "good", "options": {"seed": 1}, "max_tokens": 5}).encode()


def mutated(chance: random.Random, data: bytes, others: list[bytes], spare: bytes) -> bytes:
    """`data` with one to three mutations, which usually leave `spare` intact."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(data)) if data else 0
        if spare in data[at - len(spare) : at + len(spare)] and chance.random() < 0.9:
            at = 0
        data = _changed(chance, data, at, others)
    return data


def _changed(chance: random.Random, data: bytes, at: int, others: list[bytes]) -> bytes:
    """`data` with one random mutation, in most cases at `at`."""
    before, after = data[:at], data[at:]
    size = chance.choice((1, 1, 2, 8, 40))
    match chance.randrange(11):
        case 0:
            return before + bytes([chance.randrange(256)]) + after[1:]
        case 1:
            return before + bytes([byte ^ 1 << chance.randrange(8) for byte in after[:1]]) + after[1:]
        case 2:
            return before + chance.choice(TOKENS) + after
        case 3:
            return before + chance.choice(TOKENS) + after[size:]
        case 4:
            return before + after[size:]
        case 5:
            return before + after[:size] * chance.choice((2, 3, 50)) + after[size:]
        case 6:
            return chance.choice(METHODS) + b" " + data.partition(b" ")[2]
        case 7:
            return data.replace(b"\r\n", b"\r\n" + chance.choice(TOKENS), 1)
        case 8:
            return _lines_swapped(chance, data)
        case 9:
            return data + chance.choice(others)
        case _:
            return before if chance.random() < 0.3 else data


def _lines_swapped(chance: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"\r\n".join(lines)
