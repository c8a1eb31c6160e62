"""An error as a whole answer, in the words of the API that was asked."""

from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Message

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal:
    """`headers` has the body's type and length, and what the error itself needs; `ids` is the request's id,
    which the middleware adds to what passes it.
    """

    status: int
    headers: Headers
    body: bytes
    ids: Headers

    def messages(self) -> tuple[Message, Message]:
        """For `send`, as ASGI has it."""
        return (
            {"type": "http.response.start", "status": self.status, "headers": self.headers},
            {"type": "http.response.body", "body": self.body},
        )

    def last_words(self) -> bytes:
        """On the wire, where there is no application to send it: the connection is closed after it."""
        headers = [*self.headers, (b"connection", b"close"), *self.ids]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        phrase = HTTPStatus(self.status).phrase.encode()
        return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (self.status, phrase, lines, self.body)
