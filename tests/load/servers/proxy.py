"""A proxy in front of an embedded engine that fails on demand, as engines do not."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from tests.integration.engines import MODEL

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONNECTION = re.compile(rb"\r\nconnection: *[^\r]*", re.IGNORECASE)
LAST_CHUNK = b"0\r\n\r\n"


class Fault(Enum):
    NONE = "none"
    BROKEN = "answers 500 to everything"
    FAILING = "answers 500 to requests for answers"
    LOST = "has lost its model"
    SILENT = "never answers requests for answers"


class Proxy:
    """`asked` are the times at which requests for answers, and for loads, came; `running` how many answers
    run, `most` how many did at the same time.
    """

    def __init__(self, engine_port: int, port: int, host: str = "127.0.0.1") -> None:
        self.url = f"http://{host}:{port}"
        self.fault = Fault.NONE
        self.asked: list[float] = []
        self.running = self.most = 0
        self._address = host, port
        self._engine_port = engine_port
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None

    @contextmanager
    def serving(self) -> Iterator["Proxy"]:
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            self.open()
            yield self
        finally:
            self.close()
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def open(self) -> None:
        """Accept connections."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def close(self) -> None:
        """Refuse connections, as if nobody listened; those that are open stay."""
        server, self._server = self._server, None
        if server:
            self._loop.call_soon_threadsafe(server.close)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, *self._address, reuse_address=True)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection is not kept."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if head.startswith(b"POST "):
                await self._count(head, body, reader, writer)
            else:
                await self._answer(head, body, reader, writer)
        except (OSError, EOFError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _count(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.asked.append(time.monotonic())
        is_answer = b"\r\nx-request-id:" in head.lower()  # not a load, which is the gateway's own
        self.running += is_answer
        self.most = max(self.most, self.running)
        try:
            await self._answer(head, body, reader, writer)
        finally:
            self.running -= is_answer

    async def _answer(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        is_post = head.startswith(b"POST ")
        match self.fault:
            case Fault.BROKEN:
                _refuse(writer, 500, {"error": "broken"})
            case Fault.FAILING if is_post:
                _refuse(writer, 500, {"error": "llama runner process has terminated"})
            case Fault.LOST if is_post:
                _refuse(writer, 404, {"error": f"model '{MODEL}' not found"})
            case Fault.LOST:
                _refuse(writer, 200, {"models": []})
            case Fault.SILENT if is_post:
                await reader.read()
            case _:
                await self._forward(head, body, reader, writer)

    async def _forward(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_engine, to_engine = await asyncio.open_connection("127.0.0.1", self._engine_port)
        head = CONNECTION.sub(b"", head).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        to_engine.write(head + body)
        copying = asyncio.ensure_future(_copy(from_engine, writer))
        leaving = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait({copying, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            to_engine.transport.abort()
            copying.cancel()
            with suppress(asyncio.CancelledError):
                await copying


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Up to the last chunk: the connection may be closed a little later."""
    data = b" "
    while data and not data.endswith(LAST_CHUNK):
        data = await reader.read(65536)
        writer.write(data)
        await writer.drain()


def _refuse(writer: asyncio.StreamWriter, status: int, fields: object) -> None:
    body = json.dumps(fields).encode()
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
