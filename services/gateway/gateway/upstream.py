"""The only user of the HTTP client; turns its errors into the gateway's."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import httpx

from .body import Body, Sink
from .errors import (
    GatewayError,
    ModelNotFound,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from .transport import Transport, in_chunks, origin_of

# Compression would hold tokens back.
OWN_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "sluice-gateway"}

# An error's body is a line; more than this of it is not read.
MAX_ERROR_BODY = 64 * 1024


@dataclass
class UpstreamAnswer:
    status: int
    media_type: str
    _body: Body

    async def pour(self, sink: Sink) -> None:
        """As `Body.pour`. Raises UpstreamTruncated where the body breaks off."""
        try:
            await self._body.pour(sink)
        except httpx.RequestError as error:
            raise UpstreamTruncated("upstream broke the connection before the answer was complete") from error

    def stop(self) -> None:
        self._body.stop()


class Upstream:
    """One HTTP client for one worker, made inside its event loop."""

    def __init__(self, base_url: str, connect_timeout: float) -> None:
        self.base_url = base_url.rstrip("/")
        self._transport = Transport()
        url = httpx.URL(self.base_url)
        self._origin = origin_of(url)
        self._prefix = url.raw_path.decode().rstrip("/")
        self._headers = {"Host": url.netloc.decode(), **OWN_HEADERS}
        # No limit on reading: the relay watches that, and knows its heartbeats from upstream's bytes.
        timeout = httpx.Timeout(None, connect=connect_timeout)
        self._connect_timeout = connect_timeout
        self._client = httpx.AsyncClient(
            base_url=self.base_url, transport=self._transport, timeout=timeout, headers=OWN_HEADERS
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get_json(self, path: str, seconds: float) -> object:
        """Raises GatewayError."""
        try:
            with _connecting():
                async with asyncio.timeout(seconds):
                    response = await self._client.get(path)
        except TimeoutError:
            raise UpstreamTimeout("the model server did not answer in time") from None
        if response.status_code != 200:
            raise _error_of(response.status_code, response.headers.get("content-type", ""), response.content)
        try:
            return response.json()
        except ValueError:
            raise UpstreamFailed("upstream sent something that is not JSON") from None

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """Yields the answer, whose body comes in the pieces in which it arrives, each at once.

        `path` and `headers` are fit to be sent; a body of a length that is not among them goes in chunks.
        Leaving the context before the body's end closes the connection, which is how Ollama learns that
        nobody wants the rest. Raises GatewayError, at entry also for every status that is not 2xx.
        """
        lines = {**self._headers, **headers}
        if isinstance(body, bytes):
            lines["content-length"] = str(len(body))
        elif "content-length" not in lines:
            lines["Transfer-Encoding"] = "chunked"
            body = in_chunks(body)
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        head = f"{method} {self._prefix}{path} HTTP/1.1\r\n{head}\r\n"
        with _connecting():
            answer = await self._transport.ask(
                self._origin, head.encode("latin-1"), body, self._connect_timeout
            )
        try:
            if not 200 <= answer.status < 300:
                raise _error_of(answer.status, answer.media_type, await _read_error(answer.body))
            yield UpstreamAnswer(answer.status, answer.media_type, answer.body)
        finally:
            await answer.body.aclose()


@contextmanager
def _connecting() -> Iterator[None]:
    """Translates what can go wrong until upstream's headers have come."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise UpstreamUnreachable("the model server did not accept a connection in time") from error
    except httpx.ConnectError as error:
        raise UpstreamUnreachable("the model server cannot be reached") from error
    except httpx.RequestError as error:
        raise UpstreamFailed(
            "the model server broke the connection or sent something that is not HTTP"
        ) from error


async def _read_error(answer: Body) -> bytes:
    """What there is of it: if it breaks off, the status still says what happened."""
    body = b""
    with suppress(httpx.RequestError):
        async for chunk in answer:
            body += chunk
            if len(body) >= MAX_ERROR_BODY:
                break
    return body


def _error_of(status: int, media_type: str, body: bytes) -> GatewayError:
    """Ollama's errors are `{"error": "text"}` with a status: docs/api/errors in its documentation."""
    error = _error_class(status)(_message(body) or f"upstream answered {status}")
    error.upstream = status, media_type or "application/json", body
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
