"""Each address of a server's name is a server, and keeps its name as long as it is there."""

import asyncio
import socket
from contextlib import suppress

import pytest

from gateway.backends import group as groups
from gateway.backends.backend import Backend
from gateway.backends.client import Upstream
from gateway.backends.discovery import addresses, is_address, named
from gateway.backends.group import Group
from gateway.servers import Server


@pytest.mark.parametrize(
    ("known", "found", "names"),
    [
        ({}, ["a"], {"a": "n"}),
        ({}, ["a", "b"], {"a": "n", "b": "n@b"}),
        ({"a": "n"}, ["a", "b"], {"a": "n", "b": "n@b"}),
        ({"a": "n", "b": "n@b"}, ["b"], {"b": "n@b"}),
        ({"a": "n", "b": "n@b"}, ["b", "c"], {"b": "n@b", "c": "n@c"}),
        ({"a": "n"}, ["b"], {"b": "n"}),
        ({"a": "n"}, [], {"a": "n"}),
        ({}, [], {}),
    ],
)
def test_names_stay_with_their_addresses(
    known: dict[str, str], found: list[str], names: dict[str, str]
) -> None:
    assert named(known, found, "n") == names


@pytest.mark.parametrize(
    ("host", "is_one"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("model-server", False), ("a.example", False)],
)
def test_only_other_names_are_looked_up(host: str, is_one: bool) -> None:
    assert is_address(host) == is_one


V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(V4, "10.0.0.2"), (V4, "10.0.0.1"), (V4, "10.0.0.2")], ["10.0.0.1", "10.0.0.2"]),
        ([(V6, "fd00::1"), (V4, "10.0.0.1")], ["10.0.0.1"]),
        ([(V6, "fd00::1"), (V6, "fd00::2"), (V4, "10.0.0.1")], ["fd00::1", "fd00::2"]),
        ([(V6, "fd00::1"), (V6, "fd00::2"), (V4, "10.0.0.1"), (V4, "10.0.0.2")], ["10.0.0.1", "10.0.0.2"]),
        ([(V6, "fd00::1")], ["fd00::1"]),
        ([], []),
    ],
)
async def test_a_server_with_an_address_of_each_family_is_one_server(
    monkeypatch: pytest.MonkeyPatch, found: list[tuple[int, str]], expected: list[str]
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(family, socket.SOCK_STREAM, 6, "", (address, 80)) for family, address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    assert await addresses("models", 80) == expected


async def test_a_name_without_addresses_has_none() -> None:
    assert await addresses("no-such-host.invalid", 80) == []


async def test_servers_come_and_go_with_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    async def looked_up(host: str, port: int) -> list[str]:
        return found

    monkeypatch.setattr(groups, "addresses", looked_up)
    server = Server("http://models:11434", "ollama")
    group = Group(server, lambda server, name: Backend(name, Upstream(server.url, 1), ""))
    (first,) = group.backends

    async def after(*now: str) -> list[str]:
        found[:] = now
        await group.look_up()
        return [backend.name for backend in group.backends]

    assert await after() == ["ollama"]
    assert await after("a") == ["ollama"]
    assert first.upstream.address is None
    assert await after("a", "b", "c") == ["ollama", "ollama@b", "ollama@c"]
    assert first in group.backends
    assert [backend.upstream.address for backend in group.backends] == ["a", "b", "c"]
    assert await after() == ["ollama", "ollama@b", "ollama@c"]
    assert await after("a") == ["ollama"]
    assert await after("d") == ["ollama"]
    assert first not in group.backends


async def test_a_server_at_one_of_several_addresses_keeps_no_connection_to_another() -> None:
    """Before the first lookup it was whichever address accepted."""
    asked: list[str] = []
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                asked.append(writer.get_extra_info("sockname")[0])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    one = await asyncio.start_server(serve, "127.0.0.2", 0)
    port = one.sockets[0].getsockname()[1]
    async with one, await asyncio.start_server(serve, "127.0.0.3", port):
        upstream = Upstream(f"http://127.0.0.3:{port}", 1)
        await upstream.get_json("/", 5)
        running = await upstream.ask("GET", "/", b"", {})
        upstream.pin("127.0.0.2")
        await running.stream_into(lambda _: None)
        running.close()
        await upstream.get_json("/", 5)
        await upstream.get_json("/", 5)
        await upstream.aclose()
        await asyncio.gather(*filter(None, serving))
    assert asked == ["127.0.0.3", "127.0.0.3", "127.0.0.2", "127.0.0.2"]
