"""The client of llama.cpp's server, against a server that answers with prepared bytes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.errors import LlamaError, RunnerDiedError
from engine.inference.client import LlamaClient

EVENTS = [{"prompt_progress": {}, "choices": []}, {"choices": [1]}, {"choices": [2]}]
STREAM = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in EVENTS)
REFUSAL = {"error": {"message": "no", "code": 400, "type": "exceed_context_size_error"}}


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def client(answer: bytes) -> AsyncIterator[tuple[LlamaClient, list[bytes]]]:
    """A client and the requests that its server has received."""
    received: list[bytes] = []

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        received.append(head + await reader.readexactly(int(fields.get(b"content-length", b"0"))))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        llama = LlamaClient(f"http://{host}:{port}")
        try:
            yield llama, received
        finally:
            await llama.aclose()


async def streamed(llama: LlamaClient) -> list[dict[str, Any]]:
    return [chunk async for chunk in llama.stream("/completion", {"prompt": "x"})]


async def test_a_stream_has_all_chunks_but_the_progress_reports() -> None:
    async with client(http(STREAM + b"data: [DONE]\n\n")) as (llama, received):
        assert await streamed(llama) == EVENTS[1:]
    head, body = received[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /completion HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head + b"\r\n"
    assert json.loads(body) == {"prompt": "x", "stream": True, "return_progress": True}


async def test_what_llama_cpp_refuses_is_an_error_with_its_reason() -> None:
    async with client(http(json.dumps(REFUSAL).encode(), "400 Bad Request")) as (llama, _):
        with pytest.raises(LlamaError, match="no") as caught:
            await streamed(llama)
    assert caught.value.status == 400
    assert caught.value.is_context_overflow


async def test_an_error_within_a_stream_is_raised_too() -> None:
    async with client(http(STREAM + b"data: %b\n\n" % json.dumps(REFUSAL).encode())) as (llama, _):
        with pytest.raises(LlamaError, match="no"):
            await streamed(llama)


@pytest.mark.parametrize("answer", [b"", http(STREAM, length=9999)], ids=["at once", "within the stream"])
async def test_a_connection_that_ends_early_means_that_the_runner_has_died(answer: bytes) -> None:
    async with client(answer) as (llama, _):
        with pytest.raises(RunnerDiedError):
            await streamed(llama)


async def test_a_client_that_is_closed_has_no_runner_any_more() -> None:
    async with client(http(b"[]")) as (llama, _):
        assert await llama.busy_slots() == 0
    with pytest.raises(RunnerDiedError):
        await llama.busy_slots()


async def test_megabytes_arrive_as_they_were_sent() -> None:
    text = "x\ud800é" * 1_000_000
    async with client(http(b'{"tokens":[]}')) as (llama, received):
        await llama.post_for_bytes("/tokenize", {"content": text})
    assert json.loads(received[0].split(b"\r\n\r\n", 1)[1])["content"] == text.replace("\ud800", "?")
