"""A fake Ollama with scripted answers and faults: a real server on a real socket.

An answer is a list of steps, selected by the model's name in the request. Each bytes object is one write, so
a test controls how an answer is split on the wire.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

# An answer whose client has left is noticed a little later than the next request.
MOMENT = 0.02


class Do(Enum):
    """Steps that are not bytes."""

    WAIT = "wait for Fake.go_on"
    HEADERS = "send the headers, and nothing of the body yet"
    HANG = "send nothing more until the client leaves"
    DROP = "reset the connection"


class Raw(bytes):
    """Bytes written to the connection as they are, without HTTP around them."""


# A number is a pause, in seconds.
Step = bytes | Do | float


def line(content: str = "x", **fields: Any) -> bytes:
    """One line of `/api/chat`, in Ollama's compact JSON."""
    message = {"model": "m", "message": {"role": "assistant", "content": content}, "done": False, **fields}
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


DONE = line("", done=True, done_reason="stop", prompt_eval_count=11, eval_count=3)


@dataclass
class Answer:
    """Steps before the first bytes delay the headers; the bytes of an error `status` are its body."""

    steps: Sequence[Step]
    status: int = 200


@dataclass
class Received:
    """A received request. `gone` is set when its client has closed the connection before the end.

    `written` counts the bytes of the answer that the socket has accepted. The answer is worked on from
    `began_at` to `ended_at`, in seconds of the monotonic clock.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    gone: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    written: int = 0
    gone_at: float = 0.0
    began_at: float = 0.0
    ended_at: float = 0.0


class FakeOllama:
    """Has the models with an answer; any other one gets Ollama's 404. A request may choose another model's
    answer by its field `answers`. Models in `remote` are listed as being on another host. `capacity` is what
    the embedded engine adds to /api/ps: `slots` and `max_loaded_models`. `gets` has what clients that GET a
    path are answered.

    The gateway's own requests, which load a model, are in `loads`, not in `received`. Each gets the answer
    `loading`.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.received: list[Received] = []
        self.loads: list[Received] = []
        self.loading = Answer([b'{"done":true,"done_reason":"load"}'])
        self.answering = self.most_answering = 0
        self.polls = 0
        self.models: list[dict[str, str]] = []
        self.recommendations: list[dict[str, str]] = []
        self.loaded: list[dict[str, Any]] = []
        self.gets: dict[str, object] = {}
        self.capacity: dict[str, int] = {}
        self.remote: dict[str, str] = {}
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server
        self._go_on = asyncio.Event()

    def answer(self, model: str, *steps: Step, status: int = 200) -> None:
        self.answers[model] = Answer(steps, status)

    def go_on(self) -> None:
        """Ends every current and later WAIT."""
        self._loop.call_soon_threadsafe(self._go_on.set)

    def pause(self) -> None:
        """Makes WAIT wait again."""
        self._loop.call_soon_threadsafe(self._go_on.clear)

    @contextmanager
    def running(self) -> Iterator["FakeOllama"]:
        """Serves in its own thread."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        try:
            yield self
        finally:
            self.close()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def close(self) -> None:
        """Refuses connections from now on, and drops those that there are."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(item.lower().split(": ", 1) for item in head[1:] if item)
                length = int(headers.get("content-length", 0))
                if path == "/api/tags":
                    self.polls += 1
                    await _whole(writer, 200, {"models": [self._listed(name) for name in self._names()]})
                    continue
                if (
                    path == "/api/ps" and "x-request-id" not in headers
                ):  # the gateway's poll, not a client's request
                    await _whole(writer, 200, {"models": self.loaded, **self.capacity})
                    continue
                if path == "/api/experimental/model-recommendations":
                    await _whole(writer, 200, {"recommendations": self.recommendations})
                    continue
                if path == "/v1/models":
                    await _whole(writer, 200, {"data": self.models})
                    continue
                received = Received(method, path, headers)
                if path in ("/api/generate", "/api/embed") and "x-request-id" not in headers:
                    self.loads.append(received)
                    received.body = await reader.readexactly(length)
                    await self._play(self.loading, received, reader, writer)
                    continue
                self.received.append(received)
                if path.startswith("/api/blobs/"):
                    chunked = "transfer-encoding" in headers
                    if not await (_swallow_chunks(reader) if chunked else _swallow(reader, length)):
                        received.gone.set()
                        break
                    await _whole(writer, 201, {"swallowed": length})
                    continue
                received.body = await reader.readexactly(length)
                try:
                    model, chosen = model_of(received)
                    answer = self.answers.get(chosen or model or "")
                except (ValueError, AttributeError, TypeError, RecursionError):
                    await _whole(writer, 400, {"error": "cannot be read"})
                    continue
                if answer:
                    await self._play(answer, received, reader, writer)
                elif model:
                    await _whole(writer, 404, {"error": f"model '{model}' not found"})
                else:
                    content = self.gets.get(path, {"method": method, "path": path})
                    await _whole(writer, 200, content, head_only=method == "HEAD")

    def _names(self) -> list[str]:
        return [*self.answers, *(model["id"] for model in self.models if model["id"] not in self.answers)]

    def _listed(self, name: str) -> dict[str, str]:
        return {"name": name, **({"remote_host": self.remote[name]} if name in self.remote else {})}

    async def _play(
        self, answer: Answer, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.answering += 1
        self._loop.call_later(MOMENT, self._note_answering, self.answering)
        received.began_at = time.monotonic()
        gone = asyncio.ensure_future(reader.read(1))
        steps = asyncio.ensure_future(self._steps(answer, received, writer))
        await asyncio.wait({gone, steps}, return_when=asyncio.FIRST_COMPLETED)
        self.answering -= 1
        complete = steps.done() and not steps.exception()
        received.gone_at = time.monotonic()
        received.ended_at = received.ended_at or received.gone_at
        (received.answered if complete else received.gone).set()
        for task in (gone, steps):
            task.cancel()
        await asyncio.gather(gone, steps, return_exceptions=True)
        if not complete:
            raise ConnectionError("the client disconnected, or DROP reset the connection")

    def _note_answering(self, before: int) -> None:
        self.most_answering = max(self.most_answering, min(before, self.answering))

    async def _steps(self, answer: Answer, received: Received, writer: asyncio.StreamWriter) -> None:
        started = False
        for step in answer.steps:
            if step is Do.WAIT:
                await self._go_on.wait()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            elif step is Do.HANG:
                await asyncio.Event().wait()
            elif step is Do.DROP:
                writer.transport.abort()
                raise ConnectionError
            elif isinstance(step, Raw):
                writer.write(step)
                await writer.drain()
                continue
            elif not started:
                kind = "application/x-ndjson" if answer.status == 200 else "application/json"
                writer.write(
                    f"HTTP/1.1 {answer.status} -\r\nContent-Type: {kind}\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n".encode()
                )
                started = True
            if isinstance(step, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(step), step))
                await writer.drain()
                received.written += len(step)
        # Before the client can know it, and send its next request.
        received.ended_at = time.monotonic()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def model_of(received: Received) -> tuple[str | None, str | None]:
    """The requested model, and the one whose answer is chosen instead. In a form, as Go reads it: the first
    field of that name that is not a file.
    """
    if received.path.startswith("/v1/audio/"):
        found = re.search(rb'name="model"\r\n(?:[^\r]+\r\n)*\r\n([^\r]*)\r\n', received.body)
        return (found[1].decode() if found else None), None
    fields = json.loads(received.body or b"{}")
    return fields.get("model"), fields.get("answers")


async def _swallow(reader: asyncio.StreamReader, length: int) -> bool:
    """Reads and discards a body; False if the client closed the connection before its end."""
    while length > 0:
        piece = await reader.read(65536)
        if not piece:
            return False
        length -= len(piece)
    return True


async def _swallow_chunks(reader: asyncio.StreamReader) -> bool:
    """The same for a chunked body."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        await reader.readexactly(size + 2)
    await reader.readuntil(b"\r\n")
    return True


async def _whole(
    writer: asyncio.StreamWriter, status: int, content: object, *, head_only: bool = False
) -> None:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + (b"" if head_only else body))
    await writer.drain()
