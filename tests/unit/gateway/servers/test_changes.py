"""A change of several servers, where the settings name several of them by one name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.backends.backend import Backend
from gateway.backends.change import Change
from gateway.backends.client import Upstream
from gateway.backends.gathered import Gathered
from gateway.backends.merged import Merged
from gateway.errors import UpstreamFailed
from tests.fakes.ollama import Do, FakeOllama
from tests.integration.queue.queues import until

PULL = Change("POST", "/api/pull", b'{"model":"m"}', {}, 60)
DELETE = Change("DELETE", "/api/delete", b'{"model":"m"}', {}, 60)
MANIFEST = b'{"status":"pulling manifest"}\n'
SUCCESS = b'{"status":"success"}\n'


@asynccontextmanager
async def group(*fakes: FakeOllama) -> AsyncIterator[Sequence[Backend]]:
    """Servers behind one name."""
    async with AsyncExitStack() as stack:
        backends = []
        for number, fake in enumerate(fakes):
            stack.enter_context(fake.running())
            # Like the names that are found out: they must not be taken for addresses to be hidden.
            name = f"ollama@10.0.0.{number}"
            backends.append(Backend(name, Upstream(fake.url, 1), ""))
            stack.push_async_callback(backends[-1].upstream.aclose)
        yield backends


async def read(answer: Merged | Gathered) -> bytes:
    got = bytearray()
    await answer.stream_into(got.extend)
    return bytes(got)


async def test_servers_behind_one_name_pull_one_after_the_other() -> None:
    one, two = FakeOllama(), FakeOllama()
    one.answer("m", MANIFEST, 0.2, SUCCESS)
    two.answer("m", MANIFEST, SUCCESS)
    async with group(one, two) as backends, Merged([backends], PULL, 1000).answers() as answer:
        assert await read(answer) == MANIFEST + SUCCESS
    assert one.received[0].ended_at <= two.received[0].began_at


async def test_servers_with_names_of_their_own_pull_at_the_same_time() -> None:
    one, two = FakeOllama(), FakeOllama()
    one.answer("m", MANIFEST, Do.WAIT, SUCCESS)
    two.answer("m", MANIFEST, SUCCESS)
    async with group(one, two) as backends:
        groups = [[backend] for backend in backends]
        async with Merged(groups, PULL, 1000).answers() as answer:
            await until(lambda: two.received, "the second one pulls")
            one.go_on()
            assert await read(answer) == MANIFEST + SUCCESS


async def test_a_server_that_fails_keeps_no_other_behind_its_name_from_pulling() -> None:
    one, two = FakeOllama(), FakeOllama()
    one.answer("m", MANIFEST, b'{"error":"disk full at 10.0.0.7"}\n')
    two.answer("m", MANIFEST, SUCCESS)
    async with group(one, two) as backends, Merged([backends], PULL, 1000).answers() as answer:
        with pytest.raises(UpstreamFailed) as failure:
            await read(answer)
    # The name is told as it is, an address in the server's own words is not.
    assert failure.value.message == "ollama@10.0.0.0: disk full at …"
    assert two.received[0].answered.is_set()


async def test_whoever_deletes_first_may_delete_for_all_behind_the_name() -> None:
    one, two = FakeOllama(), FakeOllama()
    one.answer("m", Do.HEADERS)
    two.answer("m", b'{"error":"model not found"}', status=404)
    async with group(one, two) as backends, Gathered.of([backends], DELETE) as answer:
        assert (answer.status, await read(answer)) == (200, b"")


async def test_nothing_is_left_running_when_the_client_has_left() -> None:
    one, two = FakeOllama(), FakeOllama()
    for fake in (one, two):
        fake.answer("m", MANIFEST, Do.HANG)
    async with group(one, two) as backends:
        before = asyncio.all_tasks()
        async with Merged([[backend] for backend in backends], PULL, 1000).answers() as answer:
            reading = asyncio.create_task(read(answer))
            await until(lambda: one.received and two.received, "both pull")
            answer.discard()
            assert await reading in (b"", MANIFEST)
        assert asyncio.all_tasks() == before
        for backend, fake in zip(backends, (one, two), strict=True):
            await until(fake.received[0].gone.is_set, f"{backend.name} is left")
