"""A network that cuts connections: a TCP proxy that resets those of chosen requests at random places."""

import asyncio
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

RESET = struct.pack("ii", 1, 0)  # to linger for no time at all
HEAD = re.compile(rb"^(GET|POST|DELETE) (\S+) HTTP/1\.1\r\n", re.MULTILINE)


class Cuts:
    """Passes everything on to `target`, a port of this machine. Connections that ask for a path below /chat/
    are reset after a random number of bytes of their answer, at most `longest`, until that has happened
    `cuts` times. `requests` counts the GETs of each path, and `made` its cuts.
    """

    def __init__(self, target: int, cuts: int, longest: int, seed: int) -> None:
        self.url = ""
        self.requests: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self._clients: set[asyncio.StreamWriter] = set()
        self._target = target
        self._cuts = cuts
        self._longest = longest
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator["Cuts"]:
        """Serves in its own thread."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(server), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def cut_all(self) -> None:
        """Resets every connection that there is."""
        for client in self._clients.copy():
            self._loop.call_soon_threadsafe(_reset, client)

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        # How many bytes of the answer may still pass, and for which path.
        left: list[tuple[str, int]] = []
        directions = {
            asyncio.ensure_future(self._requests(reader, to_server, left)),
            asyncio.ensure_future(self._answers(from_server, writer, left)),
        }
        self._clients.add(writer)
        try:
            with suppress(asyncio.CancelledError):  # by _stop
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._clients.remove(writer)
            for task in directions:
                task.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            for end in (writer, to_server):
                end.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, left: list[tuple[str, int]]
    ) -> None:
        # A browser sends a request's head in one piece, and on one connection one request after the other.
        while piece := await reader.read(65536):
            for method, target in HEAD.findall(piece):
                path = target.decode().partition("?")[0]
                left.clear()
                if method == b"GET":
                    self.requests[path] += 1
                    if path.startswith("/chat/") and self.made[path] < self._cuts:
                        left.append((path, self._random.randint(1, self._longest)))
            server.write(piece)
            await server.drain()

    async def _answers(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, left: list[tuple[str, int]]
    ) -> None:
        while piece := await server.read(65536):
            if left:
                path, allowed = left.pop()
                if len(piece) >= allowed:
                    self.made[path] += 1
                    client.write(piece[:allowed])
                    with suppress(ConnectionError):
                        await client.drain()
                    _reset(client)
                    return
                left.append((path, allowed - len(piece)))
            client.write(piece)
            await client.drain()


def _reset(client: asyncio.StreamWriter) -> None:
    client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.transport.abort()
