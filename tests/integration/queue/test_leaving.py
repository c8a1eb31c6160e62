"""A client that leaves the queue frees its place."""

from tests.integration.apis import CHAT, Case
from tests.integration.programs import line_of
from tests.integration.queue.queues import Queue, until
from tests.integration.queue.ways import every_way


@every_way
async def test_a_client_that_leaves_the_queue_frees_its_place_and_never_reaches_upstream(
    queue: Queue, case: Case, stream: bool
) -> None:
    queue.answer(case, stream)
    holder = await queue.runs(case, stream=stream)
    leaves = await queue.waits(case, stream=stream)
    stays = await queue.waits(case, stream=stream)
    await leaves.leave()
    await queue.until_gone(leaves)
    (waiting,) = (await queue.turns())["waiting"]
    assert (waiting["request_id"], waiting["position"], waiting["of"]) == (stays.id, 1, 1)
    await holder.leave()
    await until(lambda: queue.reached(stays), "the other one has the slot")
    queue.fake.go_on()
    await stays.end()
    assert not queue.reached(leaves)
    entry = line_of(queue.served.process, leaves.id)
    assert (entry["outcome"], entry["status"]) == ("client_gone", 499)


async def test_a_client_that_leaves_through_nginx_frees_its_place_too(queue: Queue, edge: str) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    leaves = await queue.waits(CHAT, url=edge)
    await leaves.leave()
    await queue.until_gone(leaves)
