"""The gateway that makes an answer dies or stops."""

import json
import signal

import httpx

from tests.faults.kept.elsewhere.stages import HALF, WHOLE, Reader, Stage, begun, frames, kill
from tests.integration.queue.queues import until
from tests.integration.resume.background import begun as begun_response
from tests.integration.resume.background import client_of, until_status
from tests.integration.resume.events import events, numbered


async def test_if_its_gateway_is_killed_it_ends_with_one_error_the_same_everywhere(
    three: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, three.home, "hangs")
    readers = [Reader(client, each.url + path) for each in three.others for _ in range(2)]
    for reader in readers:
        await reader.has(frames(*HALF))
    kill(three.home)
    bodies = {await reader.ends() for reader in readers}
    assert len(bodies) == 1
    (body,) = bodies
    *_, error = numbered(body)
    assert body.startswith(frames(*HALF))
    assert (len(numbered(body)), error.id, error.name) == (3, "3", "error")
    assert json.loads(error.data)["error"]["code"] == "answer_lost"
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == body
        assert (await client.get(each.url + path, params={"after": 3})).status_code == 204


async def test_one_that_has_ended_outlives_its_gateway(three: Stage, client: httpx.AsyncClient) -> None:
    path = await begun(client, three.home, "short")
    assert await Reader(client, three.others[0].url + path).ends() == WHOLE
    kill(three.home)
    for each in three.others:
        assert await Reader(client, each.url + path).ends() == WHOLE
    assert (await client.delete(three.others[0].url + path)).status_code == 204
    assert (await client.get(three.others[1].url + path)).status_code == 404


def test_a_background_response_whose_gateway_is_killed_has_failed(three: Stage) -> None:
    with client_of(three.home.url) as home, client_of(three.others[0].url) as other:
        answer_id = begun_response(home, "response")
        assert until_status(other, answer_id, "in_progress").id == answer_id
        kill(three.home)
        failed = until_status(other, answer_id, "failed")
        assert failed.error
        assert "is gone" in failed.error.message
        assert (failed.id, failed.model) == (answer_id, "m")


async def test_a_gateway_that_stops_finishes_what_is_read_elsewhere(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "halts")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.home.process.popen.send_signal(signal.SIGTERM)
    await until(lambda: "Shutting down" in own.home.process.output, "it stops")
    late = Reader(client, own.others[1].url + path)
    await late.has(frames(*HALF))
    own.fake.go_on()
    assert {await reader.ends(), await late.ends()} == {WHOLE}
    assert own.home.process.popen.wait(20) == 0
    assert await Reader(client, own.others[1].url + path).ends() == WHOLE


async def test_one_that_cannot_finish_in_time_says_so_elsewhere(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "hangs")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.home.process.popen.send_signal(signal.SIGTERM)
    *_, error = numbered(await reader.ends())
    assert (error.name, json.loads(error.data)["error"]["code"]) == ("error", "shutting_down")
    assert own.home.process.popen.wait(20) == 0


async def test_a_reader_of_a_gateway_that_stops_reads_on_at_another(
    own: Stage, client: httpx.AsyncClient
) -> None:
    path = await begun(client, own.home, "halts")
    reader = Reader(client, own.others[0].url + path)
    await reader.has(frames(*HALF))
    own.others[0].process.popen.send_signal(signal.SIGTERM)
    assert await reader.ends() == frames(*HALF)
    *_, error = events(reader.body)
    assert (error.id, error.name) == ("", "error")  # it is not part of the answer
    assert json.loads(error.data)["error"]["code"] == "shutting_down"
    own.fake.go_on()
    assert await Reader(client, own.others[1].url + path, 2).ends() == WHOLE[len(frames(*HALF)) :]
