"""Newcomers are taken many a turn of the loop, and told when there is no room for them."""

import asyncio
import os
import resource
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import uvloop

from gateway.server.acceptor import Acceptor
from gateway.telemetry.metrics import REFUSED_CONNECTIONS

BACKLOG = 4096


class Counted(asyncio.Protocol):
    made: list[asyncio.BaseTransport]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.append(transport)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as server:
        yield server


@contextmanager
def newcomers(listener: socket.socket, count: int) -> Iterator[list[socket.socket]]:
    """Clients that are all connected, as far as the system goes, though nobody accepts."""
    clients = [socket.socket() for _ in range(count)]
    waiting = selectors.DefaultSelector()
    try:
        for client in clients:
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            waiting.register(client, selectors.EVENT_WRITE)
        while waiting.get_map():
            ready = waiting.select(10)
            assert ready, "a client is not connected"
            for key, _ in ready:
                waiting.unregister(key.fileobj)
        yield clients
    finally:
        waiting.close()
        for client in clients:
            client.close()


async def turns_until_all_are_in(listener: socket.socket, most: int, count: int) -> int:
    """How many turns a loop that never rests takes for `count` newcomers."""
    made: list[asyncio.BaseTransport] = []
    new_protocol = type("Protocol", (Counted,), {"made": made})
    acceptor = Acceptor(listener, new_protocol, most)
    turns = 0
    while len(made) < count:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 10_000
    acceptor.close()
    await acceptor.wait_closed()
    for transport in made:
        transport.abort()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    return turns


def test_a_thousand_newcomers_are_in_within_a_few_turns(listener: socket.socket) -> None:
    with newcomers(listener, 1000), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_all_are_in(listener, 256, 1000)) <= 20


def test_a_worker_among_several_takes_its_share(listener: socket.socket) -> None:
    with newcomers(listener, 100), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_until_all_are_in(listener, 10, 100)) >= 10


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def refused() -> float:
    (metric,) = REFUSED_CONNECTIONS.collect()
    return metric.samples[0].value


async def test_without_descriptors_newcomers_are_told_and_later_ones_are_let_in(
    listener: socket.socket,
) -> None:
    before = refused()
    made: list[asyncio.BaseTransport] = []
    with newcomers(listener, 5) as clients:
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
        acceptor = Acceptor(listener, type("Protocol", (Counted,), {"made": made}), 256)
        with no_more_descriptors():
            async with asyncio.timeout(10):
                while refused() < before + 5:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0)
        for client in clients:
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 5\r\n" in answer.lower()
            assert b'"code": "overloaded"' in answer
    assert not made
    with newcomers(listener, 1):
        async with asyncio.timeout(10):
            while not made:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0)
        acceptor.close()
        await acceptor.wait_closed()
        made[0].abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0)
