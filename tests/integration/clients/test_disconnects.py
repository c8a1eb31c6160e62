"""A client that stops reading, or that times out, frees the model's slot."""

import asyncio
from contextlib import aclosing

import pytest

from tests.integration.clients.libraries import TIMEOUTS, AsyncClients, Clients, clients_of, shared_loop
from tests.integration.clients.ways import Way, every_way
from tests.integration.stacks import MODEL, Running, seconds_until_free
from tests.processes import wait_until

LONG = 2000
"""Tokens: far more than a client that disconnects waits for."""


@every_way
def test_breaking_out_of_a_stream_frees_the_slot_within_a_second(
    way: Way, stack: Running, clients: Clients
) -> None:
    pieces = way.ask(clients, MODEL, LONG)
    next(pieces)
    wait_until(lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    pieces.close()
    assert seconds_until_free(stack) < 1


@every_way
@shared_loop
async def test_breaking_out_of_an_async_stream_frees_the_slot_within_a_second(
    way: Way, stack: Running, async_clients: AsyncClients
) -> None:
    async with aclosing(way.ask_async(async_clients, MODEL, LONG)) as pieces:
        await anext(pieces)
        await asyncio.to_thread(wait_until, lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    assert await asyncio.to_thread(seconds_until_free, stack) < 1


@every_way
def test_a_client_that_times_out_frees_the_slot_within_a_second(way: Way, stack: Running) -> None:
    with clients_of(stack.url, timeout=0.5) as clients:
        with pytest.raises(TIMEOUTS[way.library]):
            way.whole(clients, MODEL, LONG)
        assert seconds_until_free(stack) < 1
