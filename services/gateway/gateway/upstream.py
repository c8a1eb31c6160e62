"""The only user of the HTTP client; turns its errors into the gateway's."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from .errors import (
    GatewayError,
    ModelNotFound,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTruncated,
    UpstreamUnreachable,
)

# What the transport raises when there is no answer, or no more of it. It leaves some of aiohttp's unmapped.
LOST = (httpx.RequestError, aiohttp.ClientError)

# An error's body is a line; more than this of it is not read.
MAX_ERROR_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    status: int
    media_type: str
    chunks: AsyncIterator[bytes]


class Upstream:
    """One HTTP client for one worker, made inside its event loop."""

    def __init__(self, base_url: str, connect_timeout: float) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx.AsyncClient(
            base_url=self.base_url,
            # httpx's own transport costs twice the CPU a token, and its pool degrades with many streams.
            transport=AiohttpTransport(client=_session),
            # No limit on reading: the relay watches that, and knows its heartbeats from upstream's bytes.
            timeout=httpx.Timeout(None, connect=connect_timeout),
            # Compression would hold tokens back.
            headers={"Accept-Encoding": "identity", "User-Agent": "sluice-gateway"},
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get_json(self, path: str, seconds: float) -> object:
        """Raises GatewayError."""
        with _connecting():
            response = await self._client.get(path, timeout=seconds)
        if response.status_code != 200:
            raise _error_of(response, response.content)
        try:
            return response.json()
        except ValueError:
            raise UpstreamFailed("upstream sent something that is not JSON") from None

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """Yields the answer, whose body comes in the pieces in which it arrives, each at once.

        Leaving the context before the body's end closes the connection, which is how Ollama learns that
        nobody wants the rest. Raises GatewayError, at entry also for every status that is not 2xx.
        """
        request = self._client.build_request(method, path, content=body, headers=headers)
        with _connecting():
            response = await self._client.send(request, stream=True)
        try:
            if not response.is_success:
                raise _error_of(response, await _read_error(response))
            async with aclosing(_chunks(response)) as chunks:
                yield UpstreamAnswer(response.status_code, response.headers.get("content-type", ""), chunks)
        finally:
            await response.aclose()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        # Admission limits how much goes upstream; a second limit here would be a hidden queue.
        # Idle connections are given up before servers usually close them, so that none is stale.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except LOST as error:
        raise UpstreamTruncated("upstream broke the connection before the answer was complete") from error


@contextmanager
def _connecting() -> Iterator[None]:
    """Translates what can go wrong until upstream's headers have come."""
    try:
        yield
    except LOST as error:
        # The transport calls every one of these a ConnectTimeout; aiohttp's own classes tell them apart.
        if isinstance(error.__cause__, aiohttp.ServerTimeoutError):
            raise UpstreamUnreachable("the model server did not accept a connection in time") from error
        if isinstance(error.__cause__, aiohttp.ClientConnectorError):
            raise UpstreamUnreachable("the model server cannot be reached") from error
        raise UpstreamFailed(
            "the model server broke the connection or sent something that is not HTTP"
        ) from error


async def _read_error(response: httpx.Response) -> bytes:
    """What there is of it: if it breaks off, the status still says what happened."""
    body = b""
    with suppress(UpstreamTruncated):
        async for chunk in _chunks(response):
            body += chunk
            if len(body) >= MAX_ERROR_BODY:
                break
    return body


def _error_of(response: httpx.Response, body: bytes) -> GatewayError:
    """Ollama's errors are `{"error": "text"}` with a status: docs/api/errors in its documentation."""
    status, media_type = response.status_code, response.headers.get("content-type", "application/json")
    error = _error_class(status)(_message(body) or f"upstream answered {status}")
    error.upstream = status, media_type, body
    if isinstance(error, UpstreamRefused):
        error.status = status
    return error


def _error_class(status: int) -> type[GatewayError]:
    if status == 503:
        return UpstreamBusy
    if not 400 <= status < 500:
        return UpstreamFailed
    return ModelNotFound if status == 404 else UpstreamRefused


def _message(body: bytes) -> str:
    """The text of an error in any of the three shapes in which Ollama sends one."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return ""
