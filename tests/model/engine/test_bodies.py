"""Bodies of ten megabytes do not delay the embedded engine's streams, whether refused or accepted."""

import json
import threading
from typing import Any

import httpx
import pytest

from tests.integration.engines import MODEL, Client, body_for

SAID = {"role": "user", "content": "x"}
EVIL: dict[str, tuple[str, bytes]] = {
    "lists": ("/api/chat", b'{"model":"m","messages":[],"x":[' + b"[]," * 3_300_000 + b"[]]}"),
    "messages": ("/v1/chat/completions", json.dumps({"model": MODEL, "messages": [SAID] * 300_000}).encode()),
    "items": ("/v1/responses", json.dumps({"model": MODEL, "input": [SAID] * 300_000}).encode()),
    "turns": ("/v1/messages", json.dumps({"model": MODEL, "messages": [SAID] * 300_000}).encode()),
    "tools": ("/api/chat", json.dumps({"model": MODEL, "tools": [{"function": {}}] * 500_000}).encode()),
    "texts": ("/api/embed", json.dumps({"model": MODEL, "input": ["x"] * 2_000_000}).encode()),
    "depth": ("/api/generate", b"[" * 10_000_000),
    "another route": ("/api/show", b'{"model":"m","x":[' + b"{}," * 3_300_000 + b"{}]}"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_an_excessive_body_is_a_clear_400_in_the_apis_shape(engine: str, kind: str) -> None:
    path, body = EVIL[kind]
    response = httpx.post(engine + path, content=body, timeout=60)
    assert response.status_code == 400
    error: Any = response.json()["error"]
    words = error if path.startswith("/api") else error["message"]
    assert "too many values" in words or "exceeded max depth" in words


def test_a_body_over_the_size_limit_is_a_413(engine: str) -> None:
    for path in ("/api/chat", "/api/show"):
        response = httpx.post(engine + path, content=b" " * (21 * 2**20), timeout=60)
        assert response.status_code == 413
        assert "larger than" in response.json()["error"]


def test_excessive_bodies_do_not_interrupt_a_stream(engine: str) -> None:
    order: list[str] = []

    def send() -> None:
        for path, body in EVIL.values():
            httpx.post(engine + path, content=body, timeout=60)
            order.append("refused")

    with Client(engine, "/api/chat", body_for("/api/chat", "x", stream=True)) as client:
        client.wait_for(b'"done":false')
        sender = threading.Thread(target=send)
        sender.start()
        while sender.is_alive():
            client.wait_for(b'"done":false')
            order.append("token")
    # Tokens arrived between any two refusals.
    assert order.count("refused") == len(EVIL)
    assert all("token" in order[at : at + 2] for at in range(len(order) - 1))
