"""Who sees which requests at /queue, and ends them."""

from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import Do
from tests.integration.apis import CASES, CHAT, Case
from tests.integration.programs import line_of
from tests.integration.queue.queues import Queue, served, until
from tests.integration.queue.ways import BOUNDS, every_api


async def test_a_caller_sees_its_own_requests_and_an_admin_all_of_them(queue: Queue) -> None:
    queue.answer(CHAT)
    running = await queue.runs(CHAT)
    own, others = await queue.waits(CHAT), await queue.waits(CHAT, "bob")
    seen = {who: await queue.turns(who) for who in ("alice", "bob", "carol", "admin")}
    ids = {
        who: [turn["request_id"] for turn in (*lists["running"], *lists["waiting"])]
        for who, lists in seen.items()
    }
    # Bob has not had a turn, so he is next.
    assert ids == {
        "alice": [running.id, own.id],
        "bob": [others.id],
        "carol": [],
        "admin": [running.id, others.id, own.id],
    }
    (runs,), (first, second) = seen["admin"]["running"], seen["admin"]["waiting"]
    assert {"request_id": running.id, "caller": "alice", "model": "m:latest", "output_tokens": 0}.items() <= (
        runs.items()
    )
    assert runs["age_seconds"] >= 0
    assert (first["caller"], first["position"], first["of"]) == ("bob", 1, 2)
    assert (second["caller"], second["position"], second["of"]) == ("alice", 2, 2)
    assert second["eta_seconds"] >= first["eta_seconds"] >= 1
    assert (await queue.http.get("/queue")).status_code == 401


async def test_without_keys_a_caller_is_an_address(tmp_path: Path) -> None:
    with served(tmp_path, BOUNDS, {}) as running:
        async with running.queue() as queue:
            queue.answer(CHAT)
            own = await queue.runs(CHAT)
            elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
            async with httpx.AsyncClient(base_url=running.url, transport=elsewhere) as other:
                assert (await other.get("/queue")).json() == {"running": [], "waiting": []}
                assert (await other.delete(f"/queue/{own.id}")).status_code == 404
            assert [turn["caller"] for turn in (await queue.turns())["running"]] == ["127.0.0.1"]
            assert await queue.stop(own, "anyone") == 204


async def test_only_its_caller_and_admins_can_stop_a_request(queue: Queue) -> None:
    queue.answer(CHAT)
    running = await queue.runs(CHAT)
    waiting = await queue.waits(CHAT)
    for asked in (running, waiting):
        assert await queue.stop(asked, "bob") == 404
    assert await queue.ids("running") == [running.id]
    assert await queue.ids("waiting") == [waiting.id]
    assert await queue.stop(waiting, "admin") == 204
    assert b"stopped by an admin" in (await waiting.end()).body
    assert await queue.stop(running, "alice") == 204
    assert b"stopped by its caller" in (await running.end()).body
    assert await queue.stop(running, "alice") == 404


@every_api
@pytest.mark.parametrize("state", ["running", "waiting"])
async def test_a_stopped_stream_ends_with_the_reason_and_its_slot_is_free(
    queue: Queue, case: Case, state: str
) -> None:
    queue.fake.answer("m", case.answer.parts[0], Do.WAIT, *case.answer.parts[1:], case.answer.last)
    running = await queue.runs(case)
    waiting = await queue.waits(case)
    stopped = running if state == "running" else waiting
    await until(lambda: stopped.status == 200, "the stream has begun")
    assert await queue.stop(stopped, "alice") == 204
    await queue.until_gone(stopped)
    if state == "running":
        await queue.until_state("running", waiting, seconds=1)
        assert next(
            received for received in queue.fake.received if received.headers["x-request-id"] == running.id
        ).gone.wait(1)
    await stopped.end()
    assert case.terminals(stopped.body) == 1
    assert case.tells_an_error(stopped.body)
    assert b"the answer was stopped by its caller" in stopped.body
    entry = line_of(queue.served.process, stopped.id)
    assert (entry["outcome"], entry["status"]) == ("rejected", 200)


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
@pytest.mark.parametrize("state", ["running", "waiting"])
async def test_a_stopped_request_that_does_not_stream_is_410(queue: Queue, case: Case, state: str) -> None:
    queue.answer(case, stream=False)
    running = await queue.runs(case, stream=False)
    waiting = await queue.waits(case, stream=False)
    stopped = running if state == "running" else waiting
    assert await queue.stop(stopped, "alice") == 204
    await stopped.end()
    assert stopped.status == 410
    assert b"the answer was stopped by its caller" in stopped.body
    await queue.until_gone(stopped)
