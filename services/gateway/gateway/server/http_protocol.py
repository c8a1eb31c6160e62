"""uvicorn's HTTP/1.1 protocol with limits on the size of a head and the duration of a request.

nginx has such limits too. These protect against clients that reach the gateway directly.
"""

import asyncio
import secrets
from collections import deque
from typing import Any, cast

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..dialects.api import CHAT, api_of
from ..errors import GatewayError, HeadTooLarge, NotHttp, RequestTooSlow
from ..http.middleware import clean_path
from ..streaming.response import CONNECTION
from .connection import Exchange, ReaderWatch, without_chunks

# Twice nginx's limit. One read of the socket may exceed it.
MAX_HEAD = 64 * 1024

# Requests that a client may send before it has the answer to an earlier one.
MAX_PIPELINED = 64 * 1024

VERSIONS = ("1.1", "1.0")


class GuardedHttp(HttpToolsProtocol):
    """Also gives the application access to its client's connection: `streaming.delivery.Connection`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = Parser(self)
        self._limit: float = self.app_state["gateway"].settings.request_timeout
        self._timer: asyncio.TimerHandle | None = None
        # Whether a request is expected or incomplete, and whether its head is.
        self._arriving = self._in_head = True
        self._head_size = self._pipelined = 0
        self._received = False
        self.url = b""
        self._reading = b""  # the current read
        # uvicorn tracks only the last one, even if a client pipelines several.
        self._unanswered: deque[Exchange] = deque()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._reader = ReaderWatch(transport, self.app_state["gateway"].settings.send_timeout)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        self._received = True
        self._reading = data
        super().data_received(data)
        self._reading = b""
        if self.pipeline:
            self._pipelined += len(data)
            if self._pipelined > MAX_PIPELINED:
                self.flow.pause_reading()
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(HeadTooLarge(f"the request's head is larger than {MAX_HEAD} bytes"))
        # Between requests, invalid data ends uvicorn's own wait for the next one.
        if not self._timer and (self._arriving or not self.cycle or self.cycle.response_complete):
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._reader.stop()
        self._disconnect_all()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._reader.progress()
        super().resume_writing()

    # Callbacks of the parser and of uvicorn

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.parser.get_http_version() not in VERSIONS:
            raise NotHttp("this HTTP version is not supported")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise NotHttp("CONNECT is not supported: this is not a proxy")
            return  # parsed again without the upgrade
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # HTTP/1.0 has no 100 Continue
        super().on_headers_complete()
        if self.pipeline:
            # Paused by uvicorn, which would not notice that the client leaves.
            self.flow.resume_reading()
        if self.cycle and self.cycle.scope is self.scope:
            exchange = Exchange(self.cycle)
            self.scope["extensions"] = cast(Any, {CONNECTION: exchange})
            self._unanswered.append(exchange)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._arriving = False
        self._stop_timer()

    def on_response_complete(self) -> None:
        self._unanswered.popleft().end()
        self._pipelined = 0
        super().on_response_complete()
        self._reader.start(self._may_write)

    def send_400_response(self, msg: str) -> None:
        self._refuse(NotHttp("this is not a well-formed HTTP request"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        is_old = cycle.scope["http_version"] == "1.0"
        super()._start_asgi_task(cycle, without_chunks(cycle, app) if is_old else app)

    def head_without_upgrade(self) -> bytes:
        """The head that has just been parsed, without the upgrade, to be parsed again."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)

    # Timeouts

    def _start_timer(self) -> None:
        self._received = False
        self._timer = self.loop.call_later(self._limit, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        """A head must be complete within the limit; a body may not pause for longer, except while the gateway
        does not read or the request waits for the answer to an earlier one.
        """
        self._timer = None
        if not self._in_head and (self._received or self.flow.read_paused or self.pipeline):
            self._start_timer()
        elif self.headers is None:
            self.transport.close()  # nothing has been sent
        else:
            self._refuse(RequestTooSlow(f"no more of the request arrived within {self._limit:g} s"))

    def _refuse(self, error: GatewayError) -> None:
        """Answer instead of the application; if that has begun, its client counts as disconnected."""
        self._arriving = False
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._may_answer():
            request_id = secrets.token_hex(16)
            path = self._arriving_path()
            api = api_of(clean_path(path)) if path else CHAT
            refusal = api.refusal(error, request_id)
            structlog.get_logger().info(
                "request_refused",
                request_id=request_id,
                status=refusal.status,
                code=error.code,
                client=self.client[0] if self.client else "",
            )
            is_head = self.url and self.parser.get_method() == b"HEAD"
            self.transport.write(refusal.raw_head() if is_head else refusal.raw())
        # First, because later writes of the application would fail.
        self._disconnect_all()
        self.transport.close()

    def _arriving_path(self) -> str:
        """The path of the request that arrives, as far as it is known: its head may be malformed."""
        if self.scope and "path" in self.scope:
            return self.scope["path"]
        target = self.url
        if not target:  # not parsed, because of an invalid method or character
            _, _, rest = self._reading.partition(b" ")
            target = rest.split(maxsplit=1)[0] if rest.startswith(b"/") else b""
        return target.partition(b"?")[0].decode("latin-1")

    def _disconnect_all(self) -> None:
        """Notify the application that its client is gone."""
        for exchange in self._unanswered:
            exchange.disconnected()
            exchange.end()
        self._unanswered.clear()

    def _may_write(self) -> bool:
        """Whether an answer in progress may add to what is unread."""
        return bool(self._unanswered) and not self.flow.write_paused

    def _may_answer(self) -> bool:
        """Whether a response written now would be the one to the arriving request."""
        if not self.cycle or self.pipeline:
            return not self.pipeline
        return self.cycle.response_complete if self._in_head else not self.cycle.response_started


class Parser(httptools.HttpRequestParser):
    """Ignores protocol upgrades.

    llhttp treats all that follows an Upgrade header, even the body, as the other protocol. Here the head is
    parsed again without the header, then the rest.
    """

    def __init__(self, protocol: GuardedHttp) -> None:
        self._protocol = protocol
        self._start()

    def _start(self) -> None:
        super().__init__(self._protocol)
        # As in uvicorn: data after the last request of a connection does not prevent its answer.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        rest = memoryview(data)
        while rest:
            try:
                super().feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                head = self._protocol.head_without_upgrade()
                # Restart: after a request with `Connection: close`, llhttp parses no other.
                self._start()
                super().feed_data(head)
