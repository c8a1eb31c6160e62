"""HTTP requests to a runner's llama.cpp server."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from ..errors import LlamaError, RunnerDiedError
from .message import Chunk, Chunks
from .sse import SSEDecoder


class LlamaClient:
    """Raises LlamaError for what llama.cpp refuses, RunnerDiedError if the connection fails."""

    def __init__(self, address: str) -> None:
        self._session = aiohttp.ClientSession(
            address,
            # An idle kept-alive connection would occupy one of llama.cpp's few HTTP threads.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            # Silence is no sign of death: a long prompt takes long on a slow machine. A process that dies
            # closes the connection.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=3),
            headers={"Content-Type": "application/json"},
        )

    async def aclose(self) -> None:
        await self._session.close()

    async def post(self, path: str, body: Chunk) -> Chunk:
        answer: Chunk = json.loads(await self.post_for_bytes(path, body))
        return answer

    async def post_for_bytes(self, path: str, body: Chunk) -> bytes:
        async with self._request("POST", path, body) as response:
            return await response.read()

    async def busy_slots(self) -> int:
        """How many slots llama.cpp is processing."""
        async with self._request("GET", "/slots") as response:
            return sum(slot["is_processing"] for slot in json.loads(await response.read()))

    async def stream(self, path: str, body: Chunk) -> Chunks:
        """Yields the chunks of a generation. Closing the generator early stops the generation.

        llama.cpp notices a closed connection when it writes. With progress reports it also writes while it
        evaluates the prompt, so every generation is requested as a stream with progress.
        """
        body = {**body, "stream": True, "return_progress": True}
        async with self._request("POST", path, body) as response:
            events = SSEDecoder()
            async for data in response.content.iter_any():
                for event in events.feed(data):
                    if event == b"[DONE]":
                        return
                    chunk: Chunk = json.loads(event)
                    if "error" in chunk:
                        raise _llama_error(chunk, 500)
                    if "prompt_progress" not in chunk:
                        yield chunk

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: Chunk | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # Encoding megabytes takes a while, and so did preparing the body: others get their turn in between.
        await asyncio.sleep(0)
        if self._session.closed:
            raise RunnerDiedError
        # aiohttp sends a BytesIO in pieces, plain bytes at once.
        data = None if body is None else io.BytesIO(_encode(body))
        try:
            async with self._session.request(method, path, data=data) as response:
                if not response.ok:
                    raise _llama_error(json.loads(await response.read()), response.status)
                yield response
        except aiohttp.ClientError as error:
            raise RunnerDiedError from error


def _encode(body: Chunk) -> bytes:
    # A lone surrogate, which UTF-8 can't represent, becomes a question mark.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _llama_error(answer: Chunk, status: int) -> LlamaError:
    error = answer["error"]
    return LlamaError(error["message"], error.get("code", status), error["type"])
