"""What is read elsewhere is what the model server has sent."""

import asyncio
import json
import random

import httpx
import pytest

from tests.fakes.ollama import DONE, Step, line
from tests.faults.kept.elsewhere.stages import (
    HALF,
    WHOLE,
    Reader,
    Stage,
    begun,
    frames,
)
from tests.integration.chat.question import question
from tests.integration.programs import line_of
from tests.integration.queue.queues import until
from tests.integration.resume.events import numbered


async def test_every_gateway_gives_the_model_servers_own_text(
    three: Stage, client: httpx.AsyncClient
) -> None:
    """In pieces of every size, with pauses that a batch falls into, to readers that come at any time."""
    chance = random.Random(17)
    lines = [
        line(chr(chance.choice([0x20, 0xE9, 0x2028, 0x1F600])) * chance.randint(1, 400)) for _ in range(600)
    ]
    text = b"".join([*lines, DONE])
    steps: list[Step] = []
    while text:
        size = chance.randint(1, 3000)
        steps += [text[:size], chance.choice([0.0, 0.001, 0.02, 0.03])]
        text = text[size:]
    three.fake.answer("long", *steps)
    expected = frames(*lines, DONE)
    path = await begun(client, three.home, "long")
    readers: list[tuple[Reader, int]] = []
    for number in range(30):
        each, after = three.gateways[number % 3], 0
        if number > 5:
            seen = numbered(chance.choice(readers[:3])[0].body)
            after = int(seen[-1].id) if seen else 0
        readers.append((Reader(client, each.url + path, after), after))
        await asyncio.sleep(chance.uniform(0, 0.1))
    for reader, after in readers:
        assert await reader.ends() == expected[len(frames(*[*lines, DONE][:after])) :]


async def test_what_has_been_seen_anywhere_can_be_read_on_everywhere(
    three: Stage, client: httpx.AsyncClient
) -> None:
    """At once, though it is written in batches."""
    steps = [step for number in range(50) for step in (line(f"{number}"), 0.005)]
    three.fake.answer("steps", *steps, DONE)
    for _ in range(10):
        path = await begun(client, three.home, "steps")
        seen, place = 0, three.home
        while seen < 51:
            async with client.stream("GET", place.url + path, params={"after": seen}) as reading:
                assert reading.status_code == 200
                body = b""
                async for piece in reading.aiter_raw():
                    body += piece
                    if numbered(body):
                        break
            ids = [int(event.id) for event in numbered(body)]
            assert ids == [*range(seen + 1, seen + len(ids) + 1)]
            seen += len(ids)
            place = random.choice(three.gateways)
        last = await client.get(random.choice(three.others).url + path, params={"after": seen})
        assert last.status_code == 204


async def test_who_waits_elsewhere_hears_something(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "silent")
    reader = Reader(client, three.others[0].url + path)
    await until(lambda: reader.body.count(b": keep-alive\n\n") >= 3, "heartbeats")
    assert (await client.delete(three.home.url + path)).status_code == 204
    (error,) = numbered(await reader.ends())
    assert json.loads(error.data)["error"]["code"] == "answer_stopped"


async def test_deleted_anywhere_it_is_gone_everywhere(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "hangs")
    readers = [Reader(client, each.url + path) for each in three.gateways]
    for reader in readers:
        await reader.has(frames(*HALF))
    assert (await client.delete(three.others[1].url + path)).status_code == 204
    for each in three.gateways:
        assert (await client.get(each.url + path)).status_code == 404
    await until(lambda: not three.fake.answering, "the model is free", 1)
    bodies = {await reader.ends() for reader in readers}
    assert len(bodies) == 1
    assert [event.name for event in numbered(bodies.pop())] == ["", "", "error"]


@pytest.mark.parametrize("place", [0, 1])
async def test_an_ended_one_is_deleted_from_anywhere(
    place: int, three: Stage, client: httpx.AsyncClient
) -> None:
    for _ in range(20):
        path = await begun(client, three.home, "short")
        assert await Reader(client, three.others[0].url + path).ends() == WHOLE
        assert (await client.delete(three.gateways[place].url + path)).status_code == 204
        assert {(await client.get(each.url + path)).status_code for each in three.gateways} == {404}


async def test_reading_elsewhere_keeps_it_going(three: Stage, client: httpx.AsyncClient) -> None:
    sent = await client.post(
        f"{three.home.url}/chat", json=question("halts"), headers={"Prefer": "respond-async, resume=1"}
    )
    path = sent.headers["location"]
    reader = Reader(client, three.others[0].url + path)
    await reader.has(frames(*HALF))
    await asyncio.sleep(3)  # longer than it would wait without a reader
    three.fake.go_on()
    assert await reader.ends() == WHOLE


async def test_when_nobody_reads_it_anywhere_the_model_is_freed(
    three: Stage, client: httpx.AsyncClient
) -> None:
    sent = await client.post(
        f"{three.home.url}/chat", json=question("hangs"), headers={"Prefer": "respond-async, resume=1"}
    )
    async with client.stream("GET", three.others[0].url + sent.headers["location"]) as reading:
        await anext(reading.aiter_raw())
    await until(lambda: not three.fake.answering, "nobody has come back")
    assert line_of(three.home.process, sent.headers["x-request-id"])["outcome"] == "client_gone"
