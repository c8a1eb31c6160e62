import asyncio

import pytest

from engine.inference.slots import Slots


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_wants_all_slots_waits_for_all_and_is_not_overtaken() -> None:
    slots = Slots(2)
    await slots.acquire(1)
    everything = asyncio.create_task(slots.acquire(2))
    await settle()
    one = asyncio.create_task(slots.acquire(1))
    await settle()
    assert not everything.done()
    assert not one.done()
    slots.release(1)
    await settle()
    assert everything.done()
    assert not one.done()
    slots.release(2)
    await asyncio.wait_for(one, 1)


async def test_who_stops_waiting_takes_no_slot() -> None:
    slots = Slots(2)
    await slots.acquire(1)
    everything = asyncio.create_task(slots.acquire(2))
    await settle()
    assert slots.would_wait(1)
    everything.cancel()
    with pytest.raises(asyncio.CancelledError):
        await everything
    assert not slots.would_wait(1)
    assert slots.would_wait(2)
