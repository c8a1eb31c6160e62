"""Servers that are there, and refuse what is needed of them."""

import pytest

from gateway.shared.link import Link, Unavailable
from tests.integration.queue.queues import until
from tests.unit.gateway.shared.links import running
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")

WRITE = "return redis.call('SET', KEYS[1], 1)"


@pytest.fixture
def link(server: Server) -> Link:
    return Link(server.url, "test")


@pytest.mark.parametrize(
    ("refuses", "accepts"),
    [
        (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
        (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "min-replicas-to-write", 1), ("CONFIG", "SET", "min-replicas-to-write", 0)),
    ],
)
async def test_a_server_that_cannot_be_written_to_is_as_good_as_none(
    server: Server, link: Link, refuses: tuple[str | int, ...], accepts: tuple[str | int, ...]
) -> None:
    ups: list[None] = []
    link.when_up(lambda: ups.append(None))
    async with running(link):
        server.command(*refuses)
        with pytest.raises(Unavailable):
            await link.call(WRITE, ["test:key"], [])
        await until(lambda: not link.up, "it is given up")
        assert link.problem
        server.command(*accepts)
        await until(lambda: link.up, "it is used again")
        assert len(ups) == 2, "it did not seem to come and go meanwhile"
        assert await link.call(WRITE, ["test:key"], []) == b"OK"


async def test_scripts_that_a_server_has_forgotten_are_loaded_again(server: Server, link: Link) -> None:
    async with running(link):
        await link.call(WRITE, ["test:key"], [])
        server.command("SCRIPT", "FLUSH")
        with pytest.raises(Unavailable):
            await link.call(WRITE, ["test:key"], [])
        await until(lambda: not link.up, "the connection is given up")
        await until(lambda: link.up, "there is a new one")
        assert await link.call(WRITE, ["test:key"], []) == b"OK"


async def test_a_command_that_is_wrong_fails_alone(server: Server, link: Link) -> None:
    async with running(link):
        link.send("NONSENSE")
        with pytest.raises(Exception, match="unknown command"):
            await link.command("NONSENSE")
        assert link.up
        assert await link.call(WRITE, ["test:key"], []) == b"OK"
