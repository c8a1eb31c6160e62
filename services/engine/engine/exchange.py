"""One request and its answer: runs the work, and stops it when the client leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from . import bounds, wire
from .decoding import decoded
from .errors import BadRequestError, EngineError, StoppingError
from .state import State

JSON = "application/json; charset=utf-8"

log = structlog.get_logger()


class Dialect(Protocol):
    """How an API words its errors, before the answer begins and after."""

    def error(self, error: EngineError) -> dict[str, Any]: ...

    def error_event(self, error: EngineError) -> bytes: ...


@dataclass(slots=True)
class Record:
    """What the log says of a request's answer."""

    model: str | None = None
    outcome: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None


class ClientGoneError(Exception):
    """The client left before it had sent its request."""


class Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.state: State = scope["state"]["engine"]
        self.record: Record = scope["state"]["record"]
        self.headers = Headers(scope=scope)
        self.started = False
        self.ended = False
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGoneError
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            bounds.check_bytes(size)
            if not event.get("more_body"):
                return b"".join(parts)

    async def gone(self) -> None:
        """Returns when the client has left.

        Only receive() tells: uvicorn's send() does nothing, silently, once the client is gone.
        """
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, media_type: str) -> None:
        """Commits the status of a stream."""
        await self._start(200, [(b"content-type", media_type.encode())])

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._finish(b"")

    async def reply(self, value: object, status: int = 200) -> None:
        data = wire.dumps(value)
        length = str(len(data)).encode()
        await self._start(status, [(b"content-type", JSON.encode()), (b"content-length", length)])
        await self._finish(data)

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _finish(self, data: bytes) -> None:
        # Before sending: with the last byte out, receive() reports a disconnect that is none.
        self.ended = True
        await self._send({"type": "http.response.body", "body": data})


Work = Callable[[Exchange, object], Awaitable[None]]
"""Gets the request's body, decoded."""


class Endpoint:
    """A route whose work ends with its client."""

    def __init__(self, work: Work, dialect: Dialect) -> None:
        self._work = work
        self._dialect = dialect

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
            body = await exchange.body()
        except ClientGoneError:
            return "client_gone"
        except EngineError as error:
            await self._fail(exchange, error)
            return "error"
        work = asyncio.ensure_future(self._answer(exchange, body))
        gone = asyncio.ensure_future(exchange.gone())
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not exchange.ended:
                work.cancel()
            await asyncio.wait((work,))
            return "client_gone" if work.cancelled() else work.result()
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait((work,))
            await self._fail(exchange, StoppingError())
            raise
        finally:
            gone.cancel()

    async def _answer(self, exchange: Exchange, body: bytes) -> str:
        try:
            await self._work(exchange, await decoded(exchange.headers, body))
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
            await exchange.reply(self._dialect.error(error), error.status)
        elif not exchange.ended:
            await exchange.write(self._dialect.error_event(error))
            await exchange.end()
