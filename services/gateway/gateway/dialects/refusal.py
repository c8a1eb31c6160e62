"""An error response in the shape of the requested API."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal:
    """`headers` has content type, length and the error's own headers; `ids` has the request id headers, which
    the middleware adds to responses sent through it.
    """

    status: int
    headers: Headers
    body: bytes
    ids: Headers

    def messages(self) -> tuple[Message, Message]:
        """The response as ASGI messages."""
        return (
            {"type": "http.response.start", "status": self.status, "headers": self.headers},
            {"type": "http.response.body", "body": self.body},
        )

    def raw(self) -> bytes:
        """The response as raw HTTP/1.1, for errors outside the application; closes the connection."""
        return self.raw_head() + self.body

    def raw_head(self) -> bytes:
        """The same without the body: the response to HEAD."""
        headers = [*self.headers, (b"connection", b"close"), *self.ids]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        phrase = HTTPStatus(self.status).phrase.encode()
        return b"HTTP/1.1 %d %b\r\n%b\r\n" % (self.status, phrase, lines)
