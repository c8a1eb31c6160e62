"""Heartbeats and status events while nothing arrives, and the limits of silence."""

import asyncio

import pytest

from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.whole import Whole
from gateway.errors import Drained, ModelNotFound
from gateway.telemetry.metrics import HEARTBEATS
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.relay.stream import Stream


async def test_silence_is_filled_with_heartbeats_from_an_early_commit_on() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02)
    assert (await stream.next_sent())["status"] == 200
    for _ in range(3):
        assert (await stream.next_sent())["body"] == b": keep-alive\n\n"
    stream.model.bytes.put_nowait(DONE)
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert stream.record.outcome == "ok"


async def test_heartbeats_do_not_hide_an_upstream_that_never_answers() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02, first_byte_timeout=0.2)
    await stream.end()
    assert stream.client.body.startswith(b": keep-alive")
    assert b"upstream_timeout" in stream.client.history[-1]["body"]
    assert stream.record.outcome == "timeout"
    assert stream.model.released


async def test_what_is_waited_for_before_upstream_is_asked_is_watched_and_not_upstreams_time() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02, first_byte_timeout=0.1)
    stream.model.may_ask.clear()
    assert (await stream.next_sent())["status"] == 200
    for _ in range(10):
        assert (await stream.next_sent())["body"] == b": keep-alive\n\n"
    stream.client.gone.set()
    await stream.end()
    assert stream.record.outcome == "client_gone"
    assert stream.record.asked_after is None


async def test_a_client_hears_once_what_is_waited_for() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02)
    stream.model.loads = True
    stream.model.may_open.clear()
    await stream.next_sent()
    said = b'event: status\ndata: {"state": "loading", "since": 1}\n\n'
    assert (await stream.next_sent())["body"] == said
    assert (await stream.next_sent())["body"] == b": keep-alive\n\n"
    stream.model.may_open.set()
    stream.model.bytes.put_nowait(DONE)
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert stream.client.body.count(b"event: status") == 1


async def test_nothing_is_sent_before_the_request_is_accepted() -> None:
    """A refusal is to have its status, however long the decision takes."""
    stream = Stream(early_commit=0.02, heartbeat=0.02)
    stream.model.may_be_accepted.clear()
    await stream.model.opened.wait()
    for _ in range(10):
        await asyncio.sleep(0.01)
    assert stream.client.history == []
    stream.model.may_be_accepted.set()
    assert (await stream.next_sent())["status"] == 200
    stream.client.gone.set()
    await stream.end()


async def test_an_upstream_that_stalls_midway_is_cut() -> None:
    stream = Stream(idle_timeout=0.05)
    stream.model.bytes.put_nowait(line())
    await stream.end()
    assert b"upstream_timeout" in stream.client.history[-1]["body"]
    assert stream.record.outcome == "timeout"


async def test_an_upstream_that_stalls_within_its_first_line_is_cut() -> None:
    stream = Stream(idle_timeout=0.05)
    stream.model.bytes.put_nowait(line()[:20])
    await stream.end()
    assert stream.client.history[0]["status"] == 504
    assert stream.record.outcome == "timeout"


async def test_an_upstream_that_stalls_within_a_whole_answer_is_cut() -> None:
    stream = Stream(Whole(1_000_000), idle_timeout=0.05)
    stream.model.bytes.put_nowait(b'{"embeddings": [')
    await stream.end()
    assert stream.client.history[0]["status"] == 504
    assert stream.record.outcome == "timeout"


async def test_the_first_byte_timeout_ends_with_the_first_byte_of_a_whole_answer() -> None:
    stream = Stream(Whole(1_000_000), first_byte_timeout=0.5, early_commit=0.5, idle_timeout=60)
    stream.model.bytes.put_nowait(b'{"a":')
    while not stream.model.bytes.empty():  # noqa: ASYNC110 - a step or two
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(1, stream.model.bytes.put_nowait, b"1}")
    asyncio.get_running_loop().call_later(1, stream.model.bytes.put_nowait, None)
    await stream.end()
    assert stream.client.body == b'{"a":1}'
    assert stream.record.outcome == "ok"


async def test_a_first_byte_timeout_below_the_heartbeat_is_kept_by_a_whole_answer_too() -> None:
    stream = Stream(
        first_byte_timeout=0.05, early_commit=0.05, heartbeat=60, idle_timeout=60, send_timeout=60
    )
    await stream.end()
    assert stream.record.outcome == "timeout"
    assert stream.client.history[0]["status"] == 504


async def test_silence_after_the_first_token_is_filled_with_heartbeats_too() -> None:
    sent_before = HEARTBEATS._value.get()
    stream = Stream(heartbeat=0.02)
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    for _ in range(2):
        assert (await stream.next_sent())["body"] == b": keep-alive\n\n"
    stream.client.gone.set()
    await stream.end()
    assert HEARTBEATS._value.get() >= sent_before + 2


async def test_a_heartbeat_that_was_due_when_the_answer_ended_is_not_sent_behind_it() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line() + DONE)
    await stream.end()
    await stream.relay._delivery.send_heartbeat(
        ChatSSE.heartbeat, stream.generation.stopped, 1
    )  # decided before, begun after
    assert not stream.client.history[-1]["more_body"]


async def test_a_heartbeat_that_blocks_does_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.streaming.relay.FINAL_SEND_SECONDS", 0.05)
    stream = Stream(early_commit=0.02, heartbeat=0.02)
    await stream.next_sent()
    await stream.next_sent()
    stream.client.reads.clear()
    for _ in range(10):  # until a heartbeat blocks
        await asyncio.sleep(0.01)
    stream.generation.stop(Drained("restarting"))
    await stream.end()
    assert stream.record.outcome == "drained"
    assert stream.client.aborted.is_set()


async def test_a_heartbeat_that_blocks_for_too_long_is_a_reader_that_takes_nothing() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02, send_timeout=0.05)
    await stream.next_sent()
    stream.client.reads.clear()
    await stream.end()
    assert stream.client.aborted.is_set()
    assert stream.record.outcome == "client_gone"


async def test_an_answer_that_cannot_begin_because_earlier_ones_are_not_read_is_dropped() -> None:
    stream = Stream(early_commit=0.02, heartbeat=0.02, send_timeout=0.05)
    stream.client.reads.clear()
    await stream.end()
    assert stream.client.history == []
    assert stream.client.aborted.is_set()
    assert stream.record.outcome == "client_gone"


async def test_an_answer_that_cannot_begin_is_refused_if_it_is_cancelled_meanwhile() -> None:
    stream = Stream(early_commit=0.02)
    stream.client.reads.clear()
    await stream.model.opened.wait()
    while not stream.relay._delivery.committed:  # noqa: ASYNC110 - until its head blocks
        await asyncio.sleep(0)
    stream.task.cancel()
    await asyncio.sleep(0.01)
    stream.client.reads.set()
    with pytest.raises(asyncio.CancelledError):
        await stream.end()
    assert [message.get("status") for message in stream.client.history] == [503, None]


async def test_a_refusal_that_is_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.streaming.relay.FINAL_SEND_SECONDS", 0.05)
    stream = Stream()
    stream.client.reads.clear()
    stream.model.refusal = ModelNotFound("model 'x' not found")
    await stream.end()
    assert stream.client.aborted.is_set()
