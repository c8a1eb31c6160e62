"""The load generator: very many streams in one epoll loop, which only looks for stamps."""

import re
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .wire import MARK, stamps

PIECE = 65536
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
STALLED_SECONDS = 30
PAUSE_SECONDS = 0.1


class Stream:
    __slots__ = ("asked_at", "ended", "first_after", "last_at", "refused", "socket", "tokens")

    def __init__(self, connection: socket.socket, now: int) -> None:
        self.socket = connection
        self.asked_at = now
        self.first_after: int | None = None
        self.last_at = 0
        self.tokens = 0
        self.ended = False
        self.refused = False


@dataclass
class Window:
    """What arrived within a period; delays and gaps in nanoseconds."""

    delays: "array[int]" = field(default_factory=lambda: array("q"))
    gaps: "array[int]" = field(default_factory=lambda: array("q"))
    tokens: int = 0
    seconds: float = 0


class Load:
    """Streams with the same request to one port."""

    def __init__(self, port: int, request: bytes, terminal: bytes) -> None:
        self._port = port
        self._request = request
        self._terminal = terminal
        self._epoll = select.epoll()
        self._open: dict[int, Stream] = {}
        self._starts: deque[int] = deque()
        self.streams: list[Stream] = []

    def add(self, offsets: Iterable[float]) -> None:
        """Adds streams that start after `offsets` seconds."""
        now = time.monotonic_ns()
        self._starts.extend(sorted(now + int(offset * 1e9) for offset in offsets))

    def run(self, seconds: float) -> Window:
        """Runs for `seconds`, or until every stream has ended."""
        window = Window()
        began = now = time.monotonic_ns()
        end = began + int(seconds * 1e9)
        while now < end and (self._starts or self._open):
            while self._starts and self._starts[0] <= now:
                self._starts.popleft()
                self._connect()
            until = min(end, self._starts[0]) if self._starts else end
            for descriptor, events in self._epoll.poll(max(0, until - now) / 1e9):
                if events & select.EPOLLOUT:
                    self._ask(descriptor)
                else:
                    self._read(descriptor, window)
            now = time.monotonic_ns()
        window.seconds = (now - began) / 1e9
        return window

    def run_until_begun(self, seconds: float) -> None:
        """Runs until every stream has its first token or has failed. Raises ConnectionError."""
        end = time.monotonic() + seconds
        while self._starts or any(stream.first_after is None for stream in self._open.values()):
            if time.monotonic() > end:
                raise ConnectionError(f"not every stream has begun within {seconds} s")
            self.run(PAUSE_SECONDS)

    def close(self) -> None:
        for descriptor in list(self._open):
            self._leave(descriptor)
        self._epoll.close()

    @property
    def unfinished(self) -> int:
        return sum(not stream.ended for stream in self.streams)

    @property
    def refused(self) -> int:
        return sum(stream.refused for stream in self.streams)

    def _connect(self) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        now = time.monotonic_ns()
        connection.connect_ex(("127.0.0.1", self._port))
        stream = Stream(connection, now)
        self._open[connection.fileno()] = stream
        self.streams.append(stream)
        self._epoll.register(connection.fileno(), select.EPOLLOUT)

    def _ask(self, descriptor: int) -> None:
        try:
            self._open[descriptor].socket.send(self._request)
        except OSError:
            self._open[descriptor].refused = True
            self._leave(descriptor)
            return
        self._epoll.modify(descriptor, select.EPOLLIN)

    def _read(self, descriptor: int, window: Window) -> None:
        stream = self._open[descriptor]
        try:
            data = stream.socket.recv(PIECE)
        except OSError:
            data = b""
        now = time.monotonic_ns()
        if not data:
            self._leave(descriptor)
            return
        begun, times = stamps(data)
        if not stream.last_at:
            stream.refused = not data.startswith(b"HTTP/1.1 200")
            stream.last_at = now
        if begun:
            if stream.first_after is None:
                stream.first_after = now - stream.asked_at
            else:
                window.gaps.append(now - stream.last_at)
            stream.last_at = now
            stream.tokens += begun
            window.tokens += begun
            for sent in times:
                window.delays.append(now - sent)
        if self._terminal in data:
            stream.ended = True

    def _leave(self, descriptor: int) -> None:
        stream = self._open.pop(descriptor)
        self._epoll.unregister(descriptor)
        stream.socket.close()


def first_token(port: int, request: bytes) -> int:
    """Sends one request on a new connection and reads the answer; returns nanoseconds to the first token."""
    began = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", port), timeout=STALLED_SECONDS) as connection:
        connection.sendall(request)
        data = connection.recv(PIECE)
        while MARK not in data:
            piece = connection.recv(PIECE)
            if not piece:
                raise ConnectionError(f"an answer without a token: {data[:500]!r}")
            data += piece
        took = time.monotonic_ns() - began
        while connection.recv(PIECE):
            pass
    return took


class ClosedLoop:
    """Kept connections, each of which sends the next request as soon as it has its answer."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._request = request
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._read: dict[int, bytes] = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._read[connection.fileno()] = b""
            self._epoll.register(connection.fileno(), select.EPOLLIN)
            connection.sendall(request)

    def run(self, seconds: float) -> float:
        """Answers per second. Raises ConnectionError if one is not 200 or the connection is not kept."""
        began = now = time.monotonic()
        answers = 0
        while now < began + seconds:
            ready = self._epoll.poll(STALLED_SECONDS)
            if not ready:
                raise ConnectionError(f"no answer within {STALLED_SECONDS} s")
            for descriptor, _ in ready:
                answers += self._take(descriptor)
            now = time.monotonic()
        return answers / (now - began)

    def close(self) -> None:
        for connection in self._sockets.values():
            connection.close()
        self._epoll.close()

    def _take(self, descriptor: int) -> bool:
        """Reads once; whether that completes an answer."""
        connection = self._sockets[descriptor]
        data = connection.recv(PIECE)
        if not data:
            raise ConnectionError("the connection was not kept")
        data = self._read[descriptor] + data
        if not is_complete(data):
            self._read[descriptor] = data
            return False
        if not data.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"not an answer: {data[:500]!r}")
        self._read[descriptor] = b""
        connection.send(self._request)
        return True


def is_complete(answer: bytes) -> bool:
    """Whether an HTTP answer is complete."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    if length:
        return bool(end) and len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n")
