"""An answer that stays is read on by whoever comes back, from where it was."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.chat.question import question
from tests.integration.programs import line_of
from tests.integration.queue.queues import Served, until
from tests.integration.resume.events import events, numbered

RESUME = {"Prefer": "resume=60"}
ASYNC = {"Prefer": "respond-async"}


async def read_until(pieces: AsyncIterator[bytes], text: bytes) -> bytes:
    body = b""
    while text not in body:
        body += await anext(pieces)
    return body


async def begun(client: httpx.AsyncClient, model: str, prefer: str = "respond-async") -> str:
    """The address of an answer that nobody reads yet."""
    sent = await client.post("/chat", json=question(model), headers={"Prefer": prefer})
    assert sent.status_code == 202
    return sent.headers["location"]


async def test_the_stream_is_as_always_with_an_address(alice: httpx.AsyncClient) -> None:
    plain = await alice.post("/chat", json=question("short"))
    kept = await alice.post("/chat", json=question("short"), headers=RESUME)
    assert kept.status_code == 200
    assert numbered(kept.content) == numbered(plain.content) == events(plain.content)
    assert kept.headers["preference-applied"] == "resume=60"
    assert kept.headers["location"].startswith("/chat/")
    for name in ("content-type", "cache-control", "x-accel-buffering"):
        assert kept.headers[name] == plain.headers[name]
    assert not {"location", "preference-applied"} & set(plain.headers)


async def test_who_comes_back_gets_what_came_meanwhile_and_then_the_rest(
    alice: httpx.AsyncClient, gateway: Served
) -> None:
    async with alice.stream("POST", "/chat", json=question("halts"), headers=RESUME) as left:
        first = await read_until(left.aiter_raw(), b"id: 1\n")
        location = left.headers["location"]
    async with alice.stream("GET", location, headers={"Last-Event-ID": "1"}) as back:
        pieces = back.aiter_raw()
        second = await read_until(pieces, b"id: 2\n")
        gateway.fake.go_on()
        second += b"".join([piece async for piece in pieces])
    assert [event.id for event in numbered(second)] == ["2", "3", "4"]
    assert json.loads(numbered(second)[-1].data)["done"] is True
    assert b"id: 1\n" in first


async def test_every_event_can_be_the_last_one_that_was_seen(alice: httpx.AsyncClient) -> None:
    whole = await alice.post("/chat", json=question("short"), headers=RESUME)
    location, all_of_it = whole.headers["location"], numbered(whole.content)
    for seen in range(len(all_of_it)):
        rest = await alice.get(location, params={"after": seen})
        assert rest.headers["content-type"] == "text/event-stream"
        assert numbered(rest.content) == all_of_it[seen:]


async def test_nothing_left_to_read_is_204_so_that_an_event_source_stops(alice: httpx.AsyncClient) -> None:
    location = await begun(alice, "short")
    last = numbered((await alice.get(location)).content)[-1].id
    assert (await alice.get(location, headers={"Last-Event-ID": last})).status_code == 204


async def test_head_does_not_wait_for_the_end(alice: httpx.AsyncClient) -> None:
    runs, ended = await begun(alice, "halts"), await begun(alice, "short")
    last = numbered((await alice.get(ended)).content)[-1].id
    assert (await alice.head(runs)).headers["content-type"].startswith("text/event-stream")
    assert (await alice.head(ended, params={"after": last})).status_code == 204


async def test_the_header_counts_more_than_the_address(alice: httpx.AsyncClient) -> None:
    location = await begun(alice, "short")
    await alice.get(location)  # until its end
    rest = await alice.get(location, params={"after": 1}, headers={"Last-Event-ID": "3"})
    assert [event.id for event in numbered(rest.content)] == ["4"]


async def test_several_readers_each_get_all_of_it(alice: httpx.AsyncClient, gateway: Served) -> None:
    location = await begun(alice, "halts")
    async with alice.stream("GET", location) as one, alice.stream("GET", location) as other:
        readers = [one.aiter_raw(), other.aiter_raw()]
        bodies = [await read_until(reader, b"id: 2\n") for reader in readers]
        gateway.fake.go_on()
        for at, reader in enumerate(readers):
            bodies[at] += b"".join([piece async for piece in reader])
    assert numbered(bodies[0]) == numbered(bodies[1])
    assert [event.id for event in numbered(bodies[0])] == ["1", "2", "3", "4"]


async def test_the_address_comes_before_the_first_token(alice: httpx.AsyncClient, gateway: Served) -> None:
    for _ in range(2):
        await begun(alice, "halts")
    await until(lambda: gateway.fake.answering == 2, "both slots are busy")
    async with alice.stream("POST", "/chat", json=question("halts"), headers=RESUME) as waits:
        assert waits.headers["location"]
        told = await read_until(waits.aiter_raw(), b"queued")
        assert json.loads(events(told)[0].data)["position"] == 1
        gateway.fake.go_on()


async def test_who_waited_is_told_when_the_model_server_has_it(
    alice: httpx.AsyncClient, gateway: Served
) -> None:
    for _ in range(2):
        await begun(alice, "halts")
    await until(lambda: gateway.fake.answering == 2, "both slots are busy")
    sent = await alice.post("/chat", json=question("halts", answers="hangs"), headers=ASYNC)
    location = sent.headers["location"]
    async with alice.stream("GET", location) as waits:
        pieces = waits.aiter_raw()
        told = await read_until(pieces, b"queued")
        gateway.fake.go_on()
        told += await read_until(pieces, b"answering")
    assert not numbered(told)  # there is no token yet
    assert (await alice.delete(location)).status_code == 204


async def test_it_is_told_which_server_answers(alice: httpx.AsyncClient, gateway: Served) -> None:
    location = await begun(alice, "halts")
    for _ in range(2):  # also to who comes later
        async with alice.stream("GET", location) as reading:
            body = await read_until(reading.aiter_raw(), b"id: 2\n")
        told = [json.loads(event.data) for event in events(body) if event.name == "status"]
        assert told == [{"state": "answering", "server": "ollama"}]


async def test_an_error_is_read_once(alice: httpx.AsyncClient, gateway: Served) -> None:
    location = await begun(alice, "fails")
    gateway.fake.go_on()
    first, error = numbered((await alice.get(location)).content)
    assert (first.id, error.id, error.name) == ("1", "2", "error")
    assert json.loads(error.data)["error"]["code"] == "upstream_error"
    assert numbered((await alice.get(location, params={"after": 1})).content) == [error]
    assert (await alice.get(location, params={"after": 2})).status_code == 204


async def test_what_is_refused_before_it_is_accepted_is_a_status(alice: httpx.AsyncClient) -> None:
    for prefer in (RESUME, ASYNC):
        refused = await alice.post("/chat", json=question("missing"), headers=prefer)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert "location" not in refused.headers


async def test_the_model_is_freed_when_nobody_comes_back(alice: httpx.AsyncClient, gateway: Served) -> None:
    sent = await alice.post("/chat", json=question("halts"), headers={"Prefer": "respond-async, resume=1"})
    assert sent.headers["preference-applied"] == "respond-async, resume=1"
    await until(lambda: gateway.fake.answering, "it is answered")
    await until(lambda: not gateway.fake.answering, "nobody has come back")
    late = numbered((await alice.get(sent.headers["location"])).content)
    assert [event.name for event in late] == ["", "", "error"]
    entry = line_of(gateway, sent.headers["x-request-id"])
    assert (entry["outcome"], entry["status"], entry["chunks"]) == ("client_gone", 499, 2)


async def test_the_time_begins_when_the_last_reader_leaves(alice: httpx.AsyncClient, gateway: Served) -> None:
    fields: dict[str, Any] = {"headers": {"Prefer": "resume=1"}, "json": question("halts")}
    async with alice.stream("POST", "/chat", **fields) as left:
        await read_until(left.aiter_raw(), b"id: 2\n")
        request_id = left.headers["x-request-id"]
    await until(lambda: not gateway.fake.answering, "nobody has come back")
    assert line_of(gateway, request_id)["outcome"] == "client_gone"


async def test_a_reader_that_comes_in_time_keeps_it_going(alice: httpx.AsyncClient, gateway: Served) -> None:
    location = await begun(alice, "halts", "respond-async, resume=2")
    async with alice.stream("GET", location) as reading:
        pieces = reading.aiter_raw()
        body = await read_until(pieces, b"id: 2\n")
        with pytest.raises(httpx.ReadTimeout):  # longer than it would wait without a reader
            await alice.get(location, timeout=3)
        assert gateway.fake.answering
        gateway.fake.go_on()
        body += b"".join([piece async for piece in pieces])
    assert [event.id for event in numbered(body)] == ["1", "2", "3", "4"]


async def test_without_the_preference_who_leaves_frees_the_model(
    alice: httpx.AsyncClient, gateway: Served
) -> None:
    async with alice.stream("POST", "/chat", json=question("halts")) as left:
        await read_until(left.aiter_raw(), b"id: 1\n")
    await until(lambda: not gateway.fake.answering, "the model is free", 1)


async def test_delete_ends_it(alice: httpx.AsyncClient, gateway: Served) -> None:
    location = await begun(alice, "halts")
    async with alice.stream("GET", location) as reading:
        pieces = reading.aiter_raw()
        body = await read_until(pieces, b"id: 2\n")
        assert (await alice.delete(location)).status_code == 204
        await until(lambda: not gateway.fake.answering, "the model is free", 1)
        body += b"".join([piece async for piece in pieces])
    assert json.loads(numbered(body)[-1].data)["error"]["code"] == "answer_stopped"
    for method in ("GET", "DELETE"):
        gone = await alice.request(method, location)
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "answer_not_found")


async def test_it_belongs_to_its_caller(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    location = await begun(alice, "short")
    for method in ("GET", "DELETE"):
        assert (await bob.request(method, location)).status_code == 404
    assert (await alice.get(location)).status_code == 200
    async with httpx.AsyncClient(base_url=alice.base_url) as nobody:
        assert (await nobody.get(location)).status_code == 401


@pytest.mark.parametrize("said", ["-1", "1.5", "x", "9", "1" * 40, "\u0661"])
async def test_an_event_that_cannot_be_the_last_is_refused(alice: httpx.AsyncClient, said: str) -> None:
    location = await begun(alice, "short")
    refused = await alice.get(location, params={"after": said})
    assert refused.status_code == 400
    assert "after" in refused.json()["error"]["message"]


async def test_it_has_one_log_line_when_it_has_ended(alice: httpx.AsyncClient, gateway: Served) -> None:
    fields: dict[str, Any] = {"headers": RESUME, "json": question("halts")}
    async with alice.stream("POST", "/chat", **fields) as left:
        await read_until(left.aiter_raw(), b"id: 1\n")
        location, request_id = left.headers["location"], left.headers["x-request-id"]
    async with alice.stream("GET", location) as read:
        pieces = read.aiter_raw()
        await read_until(pieces, b"id: 2\n")
        gateway.fake.go_on()
        assert b'"done":true' in b"".join([piece async for piece in pieces])
    entry = line_of(gateway, request_id)
    expected = {"route": "/chat", "outcome": "ok", "status": 200, "chunks": 4, "output_tokens": 3, "reads": 2}
    assert expected.items() <= entry.items()
    entry = line_of(gateway, read.headers["x-request-id"])
    assert (entry["route"], entry["outcome"]) == ("/chat/{id}", "ok")
    assert location.removeprefix("/chat/") not in gateway.output
