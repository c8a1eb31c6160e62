"""The only user of the HTTP client: requests to a runner's llama.cpp."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from . import wire
from .errors import LlamaError, RunnerDiedError
from .frames import Frames
from .message import Chunk


def _session() -> aiohttp.ClientSession:
    # A kept-alive connection would hold one of llama.cpp's few HTTP threads while it is idle.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))


class Llama:
    def __init__(self, address: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=address,
            transport=AiohttpTransport(client=_session()),
            # A long prompt on a slow machine is silence, not death. Death closes the connection.
            timeout=httpx.Timeout(None, connect=3),
            headers={"Content-Type": "application/json"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: Chunk) -> Chunk:
        answer: Chunk = json.loads(await self.post_for_bytes(path, body))
        return answer

    async def post_for_bytes(self, path: str, body: Chunk) -> bytes:
        async with self._request("POST", path, body) as response:
            return await response.aread()

    async def busy_slots(self) -> int:
        """How many slots llama.cpp itself is working on."""
        async with self._request("GET", "/slots") as response:
            return sum(slot["is_processing"] for slot in json.loads(await response.aread()))

    async def stream(self, path: str, body: Chunk) -> AsyncGenerator[Chunk, None]:
        """Chunks of a generation; leaving it early stops the generation.

        llama.cpp notices that we left when it writes. Progress reports make it write while it
        evaluates the prompt too, so every generation is asked for as a stream with progress.
        """
        body = {**body, "stream": True, "return_progress": True}
        async with self._request("POST", path, body) as response:
            frames = Frames()
            async for part in response.aiter_raw():
                for data in frames.feed(part):
                    if data == b"[DONE]":
                        return
                    chunk: Chunk = json.loads(data)
                    if "error" in chunk:
                        raise _refusal(chunk, 500)
                    if "prompt_progress" not in chunk:
                        yield chunk

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, body: Chunk | None = None
    ) -> AsyncIterator[httpx.Response]:
        # Writing down megabytes takes its time, as making the body has.
        await asyncio.sleep(0)
        content = None if body is None else wire.plain(body)
        try:
            async with self._client.stream(method, path, content=content) as response:
                if response.is_error:
                    raise _refusal(json.loads(await response.aread()), response.status_code)
                yield response
        except (httpx.TransportError, aiohttp.ClientError) as error:
            raise RunnerDiedError from error


def _refusal(answer: Chunk, status: int) -> LlamaError:
    error = answer["error"]
    return LlamaError(error["message"], error.get("code", status), error["type"])
