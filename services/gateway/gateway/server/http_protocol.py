"""HTTP/1.1 towards clients: uvicorn's, with limits on how large a head is and how slowly a request comes.

nginx has such limits too. These are for those who reach the gateway without it, and for what gets past it.
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
from .connection import Exchange, without_chunks

# Twice what nginx lets pass. One read of the socket may bring more than that at once.
MAX_HEAD = 64 * 1024

VERSIONS = ("1.1", "1.0")


class GuardedHttp(HttpToolsProtocol):
    """Also lets the application use its client's connection, as `streaming.delivery.Connection` has it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = Parser(self)
        self._limit: float = self.app_state["gateway"].settings.request_timeout
        self._timer: asyncio.TimerHandle | None = None
        # Whether a request is expected, or has begun and is not complete; and whether that is so of its head.
        self._arriving = self._in_head = True
        self._head_size = 0
        self._heard = False
        # uvicorn knows the last one only, also where a client has asked for several at once.
        self._unanswered: deque[Exchange] = deque()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._refuse(HeadTooLarge(f"the request's head is larger than {MAX_HEAD} bytes"))
        # Between requests, what is no request ends uvicorn's own wait for the next one.
        if not self._timer and (self._arriving or not self.cycle or self.cycle.response_complete):
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._give_up()
        super().connection_lost(exc)

    # What the parser and uvicorn call

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._head_size = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.parser.get_http_version() not in VERSIONS:
            raise NotHttp("a version of HTTP that is not spoken here")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise NotHttp("this is no proxy")
            return  # it comes again without its offer
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # HTTP/1.0 knows no such answer
        super().on_headers_complete()
        if self.cycle and self.cycle.scope is self.scope:
            exchange = Exchange(self.cycle)
            self.scope["extensions"] = cast(Any, {CONNECTION: exchange})
            self._unanswered.append(exchange)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._arriving = False
        self._unwatch()

    def on_response_complete(self) -> None:
        self._unanswered.popleft().end()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(NotHttp("this is not a well-formed HTTP request"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        is_old = cycle.scope["http_version"] == "1.0"
        super()._start_asgi_task(cycle, without_chunks(cycle, app) if is_old else app)

    def head_without_offer(self) -> bytes:
        """The head that the parser has just read, for another try."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = b"".join(b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)

    # Time

    def _watch(self) -> None:
        self._heard = False
        self._timer = self.loop.call_later(self._limit, self._overdue)

    def _unwatch(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        """For a head this is all the time there is, for a body the longest silence: the client's own, not one
        while nobody takes what it sends."""
        self._timer = None
        if not self._in_head and (self._heard or self.flow.read_paused):
            self._watch()
        elif self.headers is None:
            self.transport.close()  # it has not said anything
        else:
            self._refuse(RequestTooSlow(f"nothing more of the request came for {self._limit:g} s"))

    def _refuse(self, error: GatewayError) -> None:
        """Instead of the application, to which its client is gone if it has begun with this request."""
        self._arriving = False
        self._unwatch()
        if self.transport.is_closing():
            return
        if self._may_answer():
            request_id = secrets.token_hex(16)
            path = (self.scope or {}).get("path")
            api = api_of(clean_path(path)) if path else CHAT
            refusal = api.refusal(error, request_id)
            structlog.get_logger().info(
                "refused",
                request_id=request_id,
                status=refusal.status,
                code=error.code,
                client=self.client[0] if self.client else "",
            )
            self.transport.write(refusal.last_words())
        # At once: what is written from now on would fail.
        self._give_up()
        self.transport.close()

    def _give_up(self) -> None:
        """Tells the application that nobody is there any more."""
        for exchange in self._unanswered:
            exchange.lose()
            exchange.end()
        self._unanswered.clear()

    def _may_answer(self) -> bool:
        """Whether what is written now is the answer to the request that is arriving."""
        if not self.cycle or self.pipeline:
            return not self.pipeline
        return self.cycle.response_complete if self._in_head else not self.cycle.response_started


class Parser(httptools.HttpRequestParser):
    """llhttp takes all that follows an offer to go on in another protocol, a request's body too, for that
    protocol's. Here an offer changes nothing: the head is read once more without it, then what follows.
    """

    def __init__(self, protocol: GuardedHttp) -> None:
        self._protocol = protocol
        self._start()

    def _start(self) -> None:
        super().__init__(self._protocol)
        # As uvicorn has it: what follows a request that is the last one is no reason not to answer that.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        rest = memoryview(data)
        while rest:
            try:
                super().feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                head = self._protocol.head_without_offer()
                # Anew: behind a request that is the last one, llhttp reads no other.
                self._start()
                super().feed_data(head)
