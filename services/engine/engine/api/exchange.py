"""One request and its answer: runs the handler and cancels it when the client disconnects."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from ..errors import BadRequestError, EngineError, StoppingError
from . import body
from .gojson import codec
from .state import State

JSON = "application/json; charset=utf-8"

log = structlog.get_logger()


class ErrorFormat(Protocol):
    """The shape of an API's errors."""

    def body(self, error: EngineError) -> dict[str, Any]:
        """Before the answer begins."""

    def event(self, error: EngineError) -> bytes:
        """In a stream."""


@dataclass(slots=True)
class Record:
    """What a handler adds to the request's log line."""

    model: str | None = None
    outcome: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class ClientGoneError(Exception):
    """The client disconnected before it had sent its request."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.state: State = scope["state"]["engine"]
        self.record: Record = scope["state"]["record"]
        self.headers = Headers(scope=scope)
        self.started = False
        self.ended = False
        self._receive = receive
        self._send = send

    async def body_parts(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGoneError
            yield event.get("body", b"")
            more = event.get("more_body", False)

    async def disconnected(self) -> None:
        """Returns when the client has disconnected.

        Only receive() reports it: uvicorn's send() silently does nothing once the client is gone.
        """
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, media_type: str) -> None:
        """Starts a stream, with status 200."""
        await self._start(200, [(b"content-type", media_type.encode())])

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._finish(b"")

    async def reply(self, value: object, status: int = 200) -> None:
        """Sends the whole answer as JSON."""
        data = codec.encode(value)
        length = str(len(data)).encode()
        await self._start(status, [(b"content-type", JSON.encode()), (b"content-length", length)])
        await self._finish(data)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _finish(self, data: bytes) -> None:
        # Set first: once the last byte is out, receive() reports a disconnect although the client stayed.
        self.ended = True
        await self._send({"type": "http.response.body", "body": data})


Handler = Callable[[Exchange, object], Awaitable[None]]
"""Answers a request, given its decoded body."""


class Endpoint:
    """An ASGI app that runs a handler for as long as its client is connected."""

    def __init__(self, handler: Handler, errors: ErrorFormat) -> None:
        self._handler = handler
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            outcome = await self._run(exchange)
        except BaseException:
            outcome = "error"
            raise
        finally:
            exchange.record.outcome = outcome
            exchange.state.metrics.requests.labels(outcome).inc()

    async def _run(self, exchange: Exchange) -> str:
        try:
            data = await body.collect(exchange.body_parts())
        except ClientGoneError:
            return "client_gone"
        except EngineError as error:
            await self._fail(exchange, error)
            return "error"
        answering = asyncio.ensure_future(self._answer(exchange, data))
        disconnected = asyncio.ensure_future(exchange.disconnected())
        try:
            await asyncio.wait((answering, disconnected), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not exchange.ended:
                answering.cancel()
            await asyncio.wait((answering,))
            return "client_gone" if answering.cancelled() else answering.result()
        except asyncio.CancelledError:
            answering.cancel()
            await asyncio.wait((answering,))
            await self._fail(exchange, StoppingError())
            raise
        finally:
            disconnected.cancel()

    async def _answer(self, exchange: Exchange, data: bytes) -> str:
        try:
            await self._handler(exchange, await body.decode(exchange.headers, data))
            return "ok"
        except EngineError as error:
            failure = error
        except RecursionError:
            failure = BadRequestError("exceeded max depth")
        except Exception:
            log.exception("unexpected_error")
            failure = EngineError("internal error")
        await self._fail(exchange, failure)
        return "error"

    async def _fail(self, exchange: Exchange, error: EngineError) -> None:
        if not exchange.started:
            await exchange.reply(self._errors.body(error), error.status)
        elif not exchange.ended:
            await exchange.write(self._errors.event(error))
            await exchange.end()
