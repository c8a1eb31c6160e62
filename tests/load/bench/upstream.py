"""A paced model server in one epoll loop, as cheap as Python gets.

`python -m tests.load.bench.upstream PORT [PACE]` speaks Ollama's and OpenAI's APIs as far as the bench needs
them, with a token every PACE seconds.
"""

import json
import re
import select
import socket
import sys
import time
from collections import deque

from .wire import DIALECTS, FLOOD, FLOOD_LINES, IDLE, MODELS, PACE_SECONDS, Dialect

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
REQUEST = re.compile(rb"(GET|POST) (\S+) ")
MODEL = re.compile(rb'"model": *"(?:paced:(\d+)|short|idle|flood)"')
STREAMED = re.compile(rb'"stream": *true')
FLOODED = b"%x\r\n%b\r\n" % (len(FLOOD_LINES), FLOOD_LINES)
CLOSE = re.compile(rb"connection: *close", re.IGNORECASE)


def models() -> list[dict[str, object]]:
    return [{"name": name, "model": name, "size": 1, "size_vram": 0, "details": {}} for name in MODELS]


class Connection:
    """A client's connection; `token` is a token on the wire, with a placeholder for its time."""

    __slots__ = ("close", "due", "gone", "last", "left", "needed", "read", "socket", "token", "unsent")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.read = bytearray()
        self.needed = 0  # as far as is known
        self.unsent = b""
        self.gone = False
        self.close = False
        self.left = 0
        self.due = 0
        self.token = b""
        self.last = b""

    def send(self, data: bytes) -> None:
        """Sends data; what the socket does not accept is sent with the next data, like blocked output."""
        data = self.unsent + data if self.unsent else data
        try:
            taken = self.socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.gone = True
            return
        self.unsent = data[taken:] if taken < len(data) else b""


class Server:
    def __init__(self, port: int, pace: float) -> None:
        self._pace = int(pace * 1e9)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        # In the order in which their next tokens are due, since all have the same pace.
        self._running: deque[Connection] = deque()
        self._idle = 0

    def serve(self) -> None:
        while True:
            now = self._send_what_is_due()
            wait = max(0, self._running[0].due - now) / 1e9 if self._running else None
            for descriptor, _ in self._epoll.poll(wait):
                if connection := self._connections.get(descriptor):
                    self._receive(connection)
                else:
                    self._accept()

    def _send_what_is_due(self) -> int:
        running = self._running
        now = time.monotonic_ns()
        while running and running[0].due <= now:
            connection = running.popleft()
            if not connection.gone:
                self._send_token(connection, now)
                now = time.monotonic_ns()
        return now

    def _send_token(self, connection: Connection, now: int) -> None:
        connection.send(connection.token % now)
        connection.left -= 1
        if connection.left > 0:
            connection.due += self._pace
            self._running.append(connection)
        else:
            connection.send(connection.last)
            self._answered(connection)

    def _answered(self, connection: Connection) -> None:
        if connection.close and not connection.unsent:
            connection.socket.shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[accepted.fileno()] = Connection(accepted)
            self._epoll.register(accepted.fileno(), select.EPOLLIN)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._forget(connection)
            return
        connection.read += data
        if len(connection.read) < connection.needed:
            return
        head, end, body = bytes(connection.read).partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        connection.needed = len(head) + len(end) + int(length[1]) if length else 0
        if not end or len(connection.read) < connection.needed:
            return
        connection.read, connection.needed = bytearray(), 0
        connection.close = bool(CLOSE.search(head))
        self._answer(connection, head, body)

    def _forget(self, connection: Connection) -> None:
        connection.gone = True
        if connection.left:
            self._idle -= connection.due == 0
            connection.left = 0
        descriptor = connection.socket.fileno()
        self._epoll.unregister(descriptor)
        del self._connections[descriptor]
        connection.socket.close()

    def _answer(self, connection: Connection, head: bytes, body: bytes) -> None:
        request = REQUEST.match(head)
        path = request[2].decode() if request else ""
        dialect = next((dialect for dialect in DIALECTS if dialect.path == path), None)
        if dialect is None:
            self._whole(connection, json.dumps(self._facts(path)).encode())
        elif STREAMED.search(body):
            self._stream(connection, dialect, MODEL.search(body))
        else:
            self._whole(connection, dialect.whole)

    def _facts(self, path: str) -> dict[str, object]:
        running = sum(not connection.gone for connection in self._running)
        facts: dict[str, dict[str, object]] = {
            "/api/tags": {"models": models()},
            "/api/ps": {"models": []},
            "/api/version": {"version": "0.32.15"},
            "/v1/models": {"object": "list", "data": []},
        }
        return facts.get(path, {"running": running + self._idle})

    def _whole(self, connection: Connection, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        connection.send(head + body)
        self._answered(connection)

    def _stream(self, connection: Connection, dialect: Dialect, model: re.Match[bytes] | None) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {dialect.media_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.send(head.encode())
        now = time.monotonic_ns()
        connection.token = b"%x\r\n%b\r\n" % (len(dialect.token % now), dialect.token)
        connection.last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(dialect.last), dialect.last)
        if model and (IDLE.encode() in model[0] or FLOOD.encode() in model[0]):
            connection.send(FLOODED if FLOOD.encode() in model[0] else connection.token % now)
            connection.left, connection.due = 1, 0
            self._idle += 1
            return
        connection.left = int(model[1]) if model and model[1] else 1
        connection.due = now
        self._send_token(connection, now)


if __name__ == "__main__":
    Server(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else PACE_SECONDS).serve()
