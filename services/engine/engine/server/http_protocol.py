"""uvicorn's HTTP protocol, fixed for clients that offer an upgrade or speak HTTP/1.0."""

from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# The headers of an upgrade offer (RFC 7540, section 3.2.1).
_UPGRADE_HEADERS = {b"connection", b"upgrade", b"http2-settings"}


class Http(HttpToolsProtocol):
    """Ignores offers to upgrade, as a server may, and keeps the request's body.

    The parser stops after the head of a request that offers an upgrade, and uvicorn then loses the body or
    takes it for another request. So the same head is parsed again without the offer.
    """

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            text = "Invalid HTTP request received."
            self.logger.warning(text)
            self.send_400_response(text)

    def _feed(self, data: bytes) -> bytes:
        """Returns what is left to parse: after an offer, the same request without it and what follows."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :]
        return b""

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] not in _UPGRADE_HEADERS]
        kept = [token for name, value in self.headers if name == b"connection" for token in value.split(b",")]
        kept = [token.strip() for token in kept if token.strip().lower() not in _UPGRADE_HEADERS]
        if kept:
            lines.append(b"Connection: " + b", ".join(kept))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _close_delimited(app, cycle)
        super()._start_asgi_task(cycle, app)


def _close_delimited(app: ASGI3Application, cycle: RequestResponseCycle) -> ASGI3Application:
    """HTTP/1.0 has no chunked encoding: the end of the connection ends an answer of unknown length."""

    async def http_1_0_app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_unchunked(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                known = any(name.lower() == b"content-length" for name, _ in event.get("headers", ()))
                cycle.chunked_encoding = None if known else False
            elif cycle.chunked_encoding is False and cycle.expected_content_length == 0:
                # uvicorn refuses more bytes than it expects.
                cycle.expected_content_length = len(cast(Any, event).get("body", b""))
            await send(event)

        await app(scope, receive, send_unchunked)

    return http_1_0_app
