"""What clients of each API see while they wait for a slot."""

import json
import re
from functools import partial
from itertools import pairwise
from typing import Any

from tests.integration.apis import CASES, CHAT, Case, whole_answer
from tests.integration.programs import line_of
from tests.integration.queue.queues import Asked, Queue, until
from tests.integration.queue.ways import every_api
from tests.processes import wait_until

# Of the event loop's timers and of the way to the client.
JITTER = 0.5


def statuses(asked: Asked) -> list[tuple[float, dict[str, Any]]]:
    """The status events of /chat, with the times at which they came."""
    return [
        (at, json.loads(data))
        for at, piece in asked.pieces
        for data in re.findall(rb"^event: status\ndata: (.*)$", piece, re.MULTILINE)
    ]


def positions(asked: Asked) -> list[tuple[int, int]]:
    shown = [status for _, status in statuses(asked) if status["state"] == "queued"]
    assert all(status["eta_seconds"] >= 1 for status in shown)
    return [(status["position"], status["of"]) for status in shown]


def shows(asked: Asked, position: int) -> bool:
    """Whether it is the last of so many that wait, as its client sees it."""
    return positions(asked)[-1:] == [(position, position)]


async def test_chat_shows_the_position_as_it_counts_down_to_the_answer(queue: Queue) -> None:
    queue.answer(CHAT)
    before = [await queue.runs(CHAT)]
    before += [await queue.waits(CHAT), await queue.waits(CHAT)]
    last = await queue.waits(CHAT)
    for position in (3, 2, 1):
        await until(partial(shows, last, position), f"position {position}")
        await before.pop(0).leave()
    await until(lambda: queue.reached(last), "it has a slot")
    queue.fake.go_on()
    await last.end()
    assert positions(last) == [(3, 3), (2, 2), (1, 1)]
    assert [status["state"] for _, status in statuses(last)][-1] in ("queued", "loading")
    assert last.body.rindex(b"event: status") < last.body.index(b"id: 1\n")
    assert CHAT.terminals(last.body) == 1


async def test_the_position_is_shown_at_most_once_a_second(queue: Queue) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    others = [await queue.waits(CHAT), await queue.waits(CHAT)]
    last = await queue.waits(CHAT)
    await until(lambda: positions(last), "the position is shown")
    for other in others:
        await other.leave()
    await until(lambda: positions(last)[-1] == (1, 1), "it is the next one")
    times = [at for at, _ in statuses(last)]
    assert all(later - earlier > JITTER for earlier, later in pairwise(times))


@every_api
async def test_a_stream_that_waits_shows_its_position_if_its_format_can(queue: Queue, case: Case) -> None:
    queue.answer(case)
    holder = await queue.runs(case)
    waiting = await queue.waits(case)
    signs = {
        "ChatSSE": rb'event: status\ndata: {"state": "queued", "position": 1, "of": 1, "eta_seconds": \d+}',
        "Ndjson": rb"  ",
    }
    shown = signs.get(case.dialect, rb': queued {"position": 1, "of": 1, "eta_seconds": \d+}')
    await until(lambda: re.match(shown, waiting.body), "the client gets a sign")
    before = waiting.body
    await until(lambda: len(waiting.body) > len(before), "heartbeats follow")
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    assert case.terminals(waiting.body) == 0
    queue.fake.go_on()
    await waiting.end()
    assert waiting.status == 200
    assert case.terminals(waiting.body) == 1
    if case.dialect == "Ndjson":
        assert waiting.body.lstrip(b" ") == case.answer.whole
    else:
        answer = re.sub(rb"^(event: status\ndata: |: ).*\n\n", b"", waiting.body, flags=re.MULTILINE)
        assert answer.startswith(b"id: 1\ndata: ") if case is CHAT else case.same(answer) == case.answer.whole


async def test_the_position_comes_through_nginx_immediately(queue: Queue, edge: str) -> None:
    queue.answer(CHAT)
    await queue.runs(CHAT)
    waiting = await queue.waits(CHAT, url=edge)
    await until(lambda: positions(waiting) == [(1, 1)], "nginx has passed it on")


async def test_an_answer_that_does_not_stream_is_silent_until_it_is_whole(queue: Queue) -> None:
    case = CASES[1]
    queue.answer(case, stream=False)
    holder = await queue.runs(case, stream=False)
    waiting = await queue.waits(case, stream=False)
    streaming = await queue.waits(CHAT)
    await until(lambda: positions(streaming), "one that streams would have been told")
    assert (waiting.status, waiting.pieces) == (0, [])
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    queue.fake.go_on()
    await waiting.end()
    assert (waiting.status, waiting.body) == (200, whole_answer(case))


async def test_the_log_has_who_waited_and_how_long(queue: Queue) -> None:
    queue.answer(CHAT)
    holder = await queue.runs(CHAT)
    waiting = await queue.waits(CHAT, "bob")
    await until(lambda: positions(waiting), "it has waited for a while")
    await holder.leave()
    await until(lambda: queue.reached(waiting), "it has a slot")
    queue.fake.go_on()
    await waiting.end()
    process = queue.served.process
    wait_until(lambda: waiting.id in process.output, 5, "it is logged")
    first, second = line_of(process, holder.id), line_of(process, waiting.id)
    assert (first["caller"], second["caller"]) == ("alice", "bob")
    assert 0 <= first["queue_seconds"] < second["queue_seconds"]
    assert 0.2 <= second["queue_seconds"] <= second["duration_seconds"]
