"""A client that stops reading, or that times out, frees the model's slot."""

import asyncio
from contextlib import aclosing

import pytest

from tests.integration.stacks import MODEL, Running, wait_until_free
from tests.model.clients.libraries import TIMEOUTS, AsyncClients, Clients, clients_of, shared_loop
from tests.model.clients.ways import Way, every_way
from tests.processes import wait_until

LONG = 2000
"""Tokens: far more than a client that disconnects waits for."""


@every_way
def test_breaking_out_of_a_stream_frees_the_slot_at_once(way: Way, stack: Running, clients: Clients) -> None:
    pieces = way.ask(clients, MODEL, LONG)
    next(pieces)
    wait_until(lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    pieces.close()
    wait_until_free(stack)


@every_way
@shared_loop
async def test_breaking_out_of_an_async_stream_frees_the_slot_at_once(
    way: Way, stack: Running, async_clients: AsyncClients
) -> None:
    async with aclosing(way.ask_async(async_clients, MODEL, LONG)) as pieces:
        await anext(pieces)
        await asyncio.to_thread(wait_until, lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    await asyncio.to_thread(wait_until_free, stack)


@every_way
def test_a_client_that_times_out_frees_the_slot_at_once(way: Way, stack: Running) -> None:
    with clients_of(stack.url, timeout=0.1) as clients:
        with pytest.raises(TIMEOUTS[way.library]):
            way.whole(clients, MODEL, LONG)
        wait_until_free(stack)
