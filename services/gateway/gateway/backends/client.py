"""Requests to upstream; translates transport errors into the gateway's.

There is no read timeout here: the relay enforces it.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterable, Mapping
from contextlib import closing, suppress
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
)
from ..redaction import redact
from .http1 import Answer, in_chunks
from .response_body import Body, Sink
from .transport import OutOfDescriptors, Transport, origin_of

# Compression would delay tokens.
OWN_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "sluice-gateway"}

# An error's body is one line; longer ones are truncated.
MAX_ERROR_BODY = 64 * 1024


@dataclass
class UpstreamAnswer:
    status: int
    media_type: str
    _body: Body

    async def stream_into(self, sink: Sink) -> None:
        """As `Body.stream_into`. Raises UpstreamTruncated if the connection is lost."""
        try:
            await self._body.stream_into(sink)
        except httpx.RequestError as error:
            raise UpstreamTruncated(
                "upstream closed the connection before the answer was complete"
            ) from error

    def stop(self) -> None:
        self._body.stop()

    def discard(self) -> None:
        self._body.discard()

    def close(self) -> None:
        """Before the body's end this closes the connection, which makes Ollama stop generating."""
        self._body.close()


class Upstream:
    """HTTP client of one backend, one per worker, created inside its event loop."""

    def __init__(self, base_url: str, connect_timeout: float) -> None:
        url = httpx.URL(base_url.rstrip("/"))
        headers = {**OWN_HEADERS, **_authorization(url)}
        # Without credentials, because base_url is logged.
        url = url.copy_with(username=None, password=None)
        self.base_url = str(url)
        self._transport = Transport()
        self._origin = origin_of(url)
        self._prefix = url.raw_path.decode().rstrip("/")
        self._headers = {"Host": url.netloc.decode(), **headers}
        self._connect_timeout = connect_timeout

    @property
    def address(self) -> str | None:
        """The one of the host's addresses to connect to; None: whichever accepts."""
        return self._transport.address

    def pin(self, address: str) -> None:
        self._transport.pin(address)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def get_json(self, path: str, seconds: float) -> object:
        """GET a JSON document within `seconds`. Raises GatewayError."""
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                with closing(await self.ask("GET", path, b"", {})) as answer:
                    await answer.stream_into(body.extend)
        except TimeoutError:
            raise UpstreamTimeout("the model server did not answer in time") from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise UpstreamFailed("upstream sent an answer that is not JSON") from None

    async def ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> UpstreamAnswer:
        """Return the answer once it has begun; the caller closes it. Its body is delivered as it arrives.

        `path` and `headers` are sent as they are. The request may reach upstream twice: see `Transport.ask`.
        Raises GatewayError, also for every status that is not 2xx.
        """
        head = self._head(method, path, {**headers, "content-length": str(len(body))})
        try:
            answer = await self._transport.ask(self._origin, head, body, self._connect_timeout)
        except httpx.RequestError as error:
            raise _without_answer(error) from error
        return await _checked(answer)

    async def ask_once(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> UpstreamAnswer:
        """The same for requests that must not be repeated. A body of unknown length is sent chunked."""
        if isinstance(body, bytes):
            headers = {**headers, "content-length": str(len(body))}
        elif "content-length" not in headers:
            headers = {**headers, "Transfer-Encoding": "chunked"}
            body = in_chunks(body)
        head = self._head(method, path, headers)
        try:
            answer = await self._transport.ask_once(self._origin, head, body, self._connect_timeout)
        except httpx.RequestError as error:
            raise _without_answer(error) from error
        return await _checked(answer)

    def _head(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**self._headers, **headers}.items())
        return f"{method} {self._prefix}{path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


async def _checked(answer: Answer) -> UpstreamAnswer:
    try:
        encoding = answer.header(b"content-encoding").lower()
        if encoding not in ("", "identity"):
            raise UpstreamFailed(
                f"the model server's answer is compressed ({encoding}), which was not requested"
            )
        if not 200 <= answer.status < 300:
            raise _error_of(answer.status, await _read_error(answer.body))
    except BaseException:
        answer.body.close()
        raise
    return UpstreamAnswer(answer.status, answer.media_type, answer.body)


def _authorization(url: httpx.URL) -> dict[str, str]:
    """Basic authentication for a URL with user and password: RFC 7617."""
    if not url.userinfo:
        return {}
    pair = f"{url.username}:{url.password}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _without_answer(error: httpx.RequestError) -> GatewayError:
    """Translate an error that occurred before upstream's headers arrived."""
    if isinstance(error, OutOfDescriptors):
        return Overloaded("the gateway can open no more connections; try again in a few seconds")
    if isinstance(error, httpx.ConnectTimeout):
        return UpstreamUnreachable("the model server did not accept a connection in time")
    if isinstance(error, httpx.ConnectError):
        return UpstreamUnreachable("the model server cannot be reached")
    return UpstreamFailed("the model server closed the connection or sent an invalid HTTP response")


async def _read_error(answer: Body) -> bytes:
    """Read an error's body, as far as it arrives: the status is useful without it."""
    body = bytearray()

    def take(data: bytes) -> None:
        body.extend(data)
        if len(body) >= MAX_ERROR_BODY:
            answer.stop()

    with suppress(httpx.RequestError):
        await answer.stream_into(take)
    return bytes(body)


def _error_of(status: int, body: bytes) -> GatewayError:
    """Ollama's errors are `{"error": "text"}` with a status: docs/api/errors in its documentation."""
    fields = parsed(body) or {}
    message = message_of(fields["error"]) if fields.get("error") else ""
    if 300 <= status < 400:
        return UpstreamFailed(
            f"the model server's address redirects (status {status}); "
            "set GATEWAY_OLLAMA_URL to the target of the redirect"
        )
    redacted = redact(message)
    error = _error_class(status)(redacted or f"the model server answered with status {status}")
    if message and 400 <= status < 600:
        error.upstream = status, body if redacted == message else _with_message(body, redacted)
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
    """The same error body with another message."""
    fields = json.loads(body)
    if isinstance(fields["error"], dict):
        fields["error"]["message"] = message
    else:
        fields["error"] = message
    return json.dumps(fields).encode()
