"""Background responses of a real model, at OpenAI's own clients and through nginx."""

import asyncio
from typing import Any

from openai.types.responses import Response, ResponseStreamEvent

from tests.integration.stacks import MODEL, Running, wait_until_free
from tests.model.clients.libraries import AsyncClients, Clients, shared_loop
from tests.model.clients.questions import STORY
from tests.processes import wait_until

GREEDY: dict[str, Any] = {"model": MODEL, "input": STORY, "temperature": 0, "max_output_tokens": 60}
ENDLESS: dict[str, Any] = {**GREEDY, "max_output_tokens": 3000}
WAITING = ("queued", "in_progress")


def text(events: list[ResponseStreamEvent]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def check(told: list[ResponseStreamEvent], final: Response, plain: str) -> None:
    """No event is lost or doubled, and all of it is what an ordinary request is answered."""
    assert [event.sequence_number for event in told] == [*range(len(told))]
    created, last = told[0], told[-1]
    assert created.type == "response.created"
    assert last.type == "response.completed"
    assert created.response.id == last.response.id == final.id
    assert last.response == final
    assert text(told) == final.output_text == plain


def test_it_is_created_and_polled_to_its_end(clients: Clients) -> None:
    responses = clients.openai.responses
    sent = responses.create(**GREEDY, background=True)
    assert sent.status in WAITING
    wait_until(lambda: responses.retrieve(sent.id).status not in WAITING, 60, "it has ended")
    final = responses.retrieve(sent.id)
    assert (final.id, final.status, final.background) == (sent.id, "completed", True)
    assert final.output_text == responses.create(**GREEDY).output_text
    assert final.usage
    assert final.usage.output_tokens == 60


def test_its_stream_is_read_on_from_any_event(clients: Clients) -> None:
    responses = clients.openai.responses
    told: list[ResponseStreamEvent] = []
    with responses.create(**GREEDY, background=True, stream=True) as stream:
        told += (next(stream) for _ in range(6))
    created = told[0]
    assert created.type == "response.created"
    answer_id = created.response.id
    while told[-1].type != "response.completed":
        with responses.retrieve(answer_id, stream=True, starting_after=told[-1].sequence_number) as stream:
            told += (event for event, _ in zip(stream, range(7), strict=False))
    check(told, responses.retrieve(answer_id), responses.create(**GREEDY).output_text)


@shared_loop
async def test_the_async_client_does_the_same(async_clients: AsyncClients) -> None:
    responses = async_clients.openai.responses
    told: list[ResponseStreamEvent] = []
    async with await responses.create(**GREEDY, background=True, stream=True) as stream:
        async for event in stream:
            told.append(event)
            if text(told):
                break
    created = told[0]
    assert created.type == "response.created"
    answer_id = created.response.id
    async with await responses.retrieve(
        answer_id, stream=True, starting_after=told[-1].sequence_number
    ) as stream:
        told += [event async for event in stream]
    plain = await responses.create(**GREEDY)
    check(told, await responses.retrieve(answer_id), plain.output_text)


@shared_loop
async def test_the_async_client_polls_several_at_once(async_clients: AsyncClients) -> None:
    responses = async_clients.openai.responses

    async def polled() -> Response:
        found: Response = await responses.create(**GREEDY, background=True)
        async with asyncio.timeout(120):
            while found.status in WAITING:
                await asyncio.sleep(0.05)
                found = await responses.retrieve(found.id)
        return found

    found = await asyncio.gather(*(polled() for _ in range(6)))
    assert {each.status for each in found} == {"completed"}
    assert len({each.id for each in found}) == 6


def test_leaving_does_not_stop_it_but_cancelling_does_at_once(stack: Running, clients: Clients) -> None:
    responses = clients.openai.responses
    with responses.create(**ENDLESS, background=True, stream=True) as stream:
        created = next(stream)
        assert created.type == "response.created"
        while not text([next(stream)]):
            pass
    answer_id = created.response.id
    with responses.retrieve(answer_id, stream=True) as stream:
        seen = text([next(stream) for _ in range(30)])
    assert seen
    assert stack.busy_slots() == 1
    assert responses.cancel(answer_id).status == "cancelled"
    wait_until_free(stack)
    assert responses.retrieve(answer_id).status == "cancelled"
    responses.delete(answer_id)


@shared_loop
async def test_the_async_client_deletes_it_at_once(stack: Running, async_clients: AsyncClients) -> None:
    responses = async_clients.openai.responses
    sent = await responses.create(**ENDLESS, background=True)
    await asyncio.to_thread(wait_until, lambda: stack.busy_slots() == 1, 20, "a slot is busy")
    await responses.delete(sent.id)
    await asyncio.to_thread(wait_until_free, stack)
