"""The only user of the HTTP client; turns its errors into the gateway's.

It sets no limit on reading: the relay watches that, and knows its heartbeats from upstream's bytes.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import httpx

from ..dialects.decoding import message_of, parsed
from ..errors import (
    GatewayError,
    ModelNotFound,
    Overloaded,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
    redact,
)
from .http1 import Answer, in_chunks
from .response_body import Body, Sink
from .transport import OutOfDescriptors, Transport, origin_of

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

    def leave(self) -> None:
        self._body.leave()


class Upstream:
    """One for a worker, made inside its event loop."""

    def __init__(self, base_url: str, connect_timeout: float) -> None:
        url = httpx.URL(base_url.rstrip("/"))
        headers = {**OWN_HEADERS, **_authorization(url)}
        # From here on without its password: this is what is logged.
        url = url.copy_with(username=None, password=None)
        self.base_url = str(url)
        self._transport = Transport()
        self._origin = origin_of(url)
        self._prefix = url.raw_path.decode().rstrip("/")
        self._headers = {"Host": url.netloc.decode(), **headers}
        self._connect_timeout = connect_timeout

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def get_json(self, path: str, seconds: float) -> object:
        """Raises GatewayError."""
        body = bytearray()
        try:
            async with asyncio.timeout(seconds), self.stream("GET", path, b"", {}) as answer:
                await answer.pour(body.extend)
        except TimeoutError:
            raise UpstreamTimeout("the model server did not answer in time") from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise UpstreamFailed("upstream sent something that is not JSON") from None

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """Yields the answer, whose body comes in the pieces in which it arrives, each at once.

        `path` and `headers` are fit to be sent. The request may reach upstream twice: see `Transport.ask`.
        Leaving the context before the body's end closes the connection, which is how Ollama learns that
        nobody wants the rest. Raises GatewayError, at entry also for every status that is not 2xx.
        """
        head = self._head(method, path, {**headers, "content-length": str(len(body))})
        with _connecting():
            answer = await self._transport.ask(self._origin, head, body, self._connect_timeout)
        async with _checked(answer) as good:
            yield good

    @asynccontextmanager
    async def stream_once(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """The same for what changes something; a body of a length that is not in `headers` goes in chunks."""
        if isinstance(body, bytes):
            headers = {**headers, "content-length": str(len(body))}
        elif "content-length" not in headers:
            headers = {**headers, "Transfer-Encoding": "chunked"}
            body = in_chunks(body)
        head = self._head(method, path, headers)
        with _connecting():
            answer = await self._transport.ask_once(self._origin, head, body, self._connect_timeout)
        async with _checked(answer) as good:
            yield good

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**self._headers, **headers}.items())
        return f"{method} {self._prefix}{path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


@asynccontextmanager
async def _checked(answer: Answer) -> AsyncIterator[UpstreamAnswer]:
    try:
        encoding = answer.header(b"content-encoding").lower()
        if encoding not in ("", "identity"):
            raise UpstreamFailed(
                f"the model server's answer is compressed ({encoding}), which was not asked for"
            )
        if not 200 <= answer.status < 300:
            raise _error_of(answer.status, await _read_error(answer.body))
        yield UpstreamAnswer(answer.status, answer.media_type, answer.body)
    finally:
        answer.body.close()


def _authorization(url: httpx.URL) -> dict[str, str]:
    """Of an address with a user in it: RFC 7617."""
    if not url.userinfo:
        return {}
    pair = f"{url.username}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


@contextmanager
def _connecting() -> Iterator[None]:
    """Translates what can go wrong until upstream's headers have come."""
    try:
        yield
    except OutOfDescriptors as error:
        raise Overloaded("the gateway can open no more connections; try again in a few seconds") from error
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
    body = bytearray()

    def take(data: bytes) -> None:
        body.extend(data)
        if len(body) >= MAX_ERROR_BODY:
            answer.stop()

    with suppress(httpx.RequestError):
        await answer.pour(take)
    return bytes(body)


def _error_of(status: int, body: bytes) -> GatewayError:
    """Ollama's errors are `{"error": "text"}` with a status: docs/api/errors in its documentation."""
    fields = parsed(body) or {}
    message = message_of(fields["error"]) if fields.get("error") else ""
    if 300 <= status < 400:
        return UpstreamFailed(
            f"the model server's address leads elsewhere (status {status}); "
            "GATEWAY_OLLAMA_URL has to be the address to which it leads"
        )
    fit = redact(message)
    error = _error_class(status)(fit or f"the model server answered with status {status}")
    if message and 400 <= status < 600:
        error.upstream = status, body if fit == message else _with_message(body, fit)
    if isinstance(error, UpstreamRefused):
        error.status = status
    return error


def _error_class(status: int) -> type[GatewayError]:
    if status == 503:
        return UpstreamBusy
    if not 400 <= status < 500:
        return UpstreamFailed
    return ModelNotFound if status == 404 else UpstreamRefused


def _with_message(body: bytes, message: str) -> bytes:
    """The same error in other words."""
    fields = json.loads(body)
    if isinstance(fields["error"], dict):
        fields["error"]["message"] = message
    else:
        fields["error"] = message
    return json.dumps(fields).encode()
