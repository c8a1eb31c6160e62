"""Many that come at the same moment are spread over turns of the loop, in their order."""

import asyncio

from gateway.turnstile import Turnstile


async def test_a_few_pass_each_turn_in_their_order() -> None:
    turnstile = Turnstile(4)
    passed: list[int] = []

    async def one(number: int) -> None:
        await turnstile.wait()
        passed.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(40)]
    most = 0
    while len(passed) < 40:
        before = len(passed)
        await asyncio.sleep(0)
        most = max(most, len(passed) - before)
    assert passed == list(range(40))
    assert 1 <= most <= 4
    await asyncio.gather(*tasks)


async def test_nobody_waits_while_there_is_room() -> None:
    turnstile = Turnstile(4)
    for _ in range(20):
        for _ in range(4):
            waiting = turnstile.wait()
            try:
                waiting.send(None)
            except StopIteration:
                continue
            raise AssertionError("it waits")
        for _ in range(2):
            await asyncio.sleep(0)


async def test_those_who_give_up_take_nobodys_place() -> None:
    turnstile = Turnstile(1)
    await turnstile.wait()
    tasks = [asyncio.create_task(turnstile.wait()) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[:9]:
        task.cancel()
    async with asyncio.timeout(10):
        await tasks[9]
