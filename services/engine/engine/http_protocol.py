"""HTTP/1.1 towards clients: uvicorn's, where a client offers another protocol or speaks HTTP/1.0."""

from typing import Any, cast

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

# What belongs to the offer and not to the request (RFC 7540, section 3.2.1).
_OF_OFFERS = {b"connection", b"upgrade", b"http2-settings"}


class Http(HttpToolsProtocol):
    """Ignores offers of another protocol, as a server may, and keeps the request's body.

    The parser ends at the head of a request with an offer, and uvicorn takes what follows, which is the
    body, for another request or for nothing. So the same head without the offer is parsed once more.
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
                data = self._fed(data)
        except httptools.HttpParserError:
            text = "Invalid HTTP request received."
            self.logger.warning(text)
            self.send_400_response(text)

    def _fed(self, data: bytes) -> bytes:
        """What is still to be parsed: after an offer, its own request without it, and what follows."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            return head + data[offer.args[0] :]
        return b""

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % field for field in self.headers if field[0] not in _OF_OFFERS]
        kept = [token for name, value in self.headers if name == b"connection" for token in value.split(b",")]
        kept = [token.strip() for token in kept if token.strip().lower() not in _OF_OFFERS]
        if kept:
            lines.append(b"Connection: " + b", ".join(kept))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)


def _without_chunks(app: ASGI3Application, cycle: RequestResponseCycle) -> ASGI3Application:
    """HTTP/1.0 knows no chunks: an answer of no known length ends with its connection."""

    async def answered(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def sent(event: ASGISendEvent) -> None:
            if event["type"] == "http.response.start":
                known = any(name.lower() == b"content-length" for name, _ in event.get("headers", ()))
                cycle.chunked_encoding = None if known else False
            elif cycle.chunked_encoding is False and cycle.expected_content_length == 0:
                # Whatever comes is expected.
                cycle.expected_content_length = len(cast(Any, event).get("body", b""))
            await send(event)

        await app(scope, receive, sent)

    return answered
