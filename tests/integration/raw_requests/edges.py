"""Both servers that clients can reach, as targets of raw requests."""

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.ollama import FakeOllama
from tests.processes import Process

SERVERS = ("nginx", "gateway")
ORIGIN = "https://ui.example"


@dataclass
class Edges:
    fake: FakeOllama
    gateway: Process
    nginx: Process
    urls: dict[str, str]
    audit: Path

    def connect(self, server: str) -> socket.socket:
        host, port = self.urls[server].removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def answers(self, server: str, data: bytes) -> list[bytes]:
        """The answers until the connection is closed; with HTTP/0.9, which has no heads, a single one."""
        with self.connect(server) as client:
            with suppress(ConnectionError):
                client.sendall(data)
            received = until_closed(client)
        got = [answer for answer in received.split(b"HTTP/1.1 ") if answer]
        return [answer for answer in got if not answer.startswith(b"100 ")]


def until_closed(client: socket.socket) -> bytes:
    """Everything until the connection ends or its timeout passes."""
    received = b""
    # The server closes with a reset if it has not read everything.
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            received += piece
    return received
