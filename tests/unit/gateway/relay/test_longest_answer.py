"""An answer that takes too long is cut."""

import asyncio
import json

import pytest

from gateway.errors import Drained
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.relay.stream import Stream


async def test_an_answer_that_takes_too_long_ends_as_at_the_limit_of_its_length() -> None:
    stream = Stream(max_answer_seconds=0.1)
    stream.model.bytes.put_nowait(line("a") + line("b"))
    await stream.end()
    last = stream.client.history[-1]
    assert b'"done":true,"done_reason":"length"' in last["body"]
    assert last["more_body"] is False
    assert stream.client.body.count(b'"done":true') == 1
    assert b"event: error" not in stream.client.body
    assert stream.model.released
    record = stream.record
    assert (record.outcome, record.cut, record.chunks, record.output_tokens) == ("ok", True, 2, None)


async def test_an_answers_age_begins_when_the_model_server_is_asked() -> None:
    stream = Stream()
    stream.model.may_ask.clear()
    await stream.model.opened.wait()
    assert stream.generation.seconds == 0
    stream.model.may_ask.set()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    before = stream.generation.seconds
    assert before > 0
    await stream.next_sent()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    assert stream.generation.seconds > before
    stream.client.gone.set()
    await stream.end()


async def test_what_is_not_a_models_answer_has_no_age() -> None:
    stream = Stream()
    stream.record.asks(None, streams=True)
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    assert stream.generation.asked_at
    assert stream.generation.seconds == 0
    stream.client.gone.set()
    await stream.end()


async def test_tokens_and_heartbeats_do_not_extend_the_longest_answer() -> None:
    stream = Stream(max_answer_seconds=0.3, heartbeat=0.02)
    while not stream.record.cut:
        stream.model.bytes.put_nowait(line())
        await stream.next_sent()
        await stream.next_sent()
    await stream.end()
    assert b'"done_reason":"length"' in stream.client.history[-1]["body"]


async def test_an_answer_that_takes_too_long_to_begin_is_an_error_that_clients_do_not_repeat() -> None:
    stream = Stream(max_answer_seconds=0.05)
    await stream.end()
    start, body = stream.client.history
    assert start["status"] == 410
    error = json.loads(body["body"])["error"]
    assert (error["type"], error["code"]) == ("timeout_error", "answer_too_long")
    assert "longer than 0.05 s" in error["message"]
    assert (stream.record.outcome, stream.record.cut) == ("rejected", True)
    assert stream.model.released


async def test_a_stream_that_has_only_heartbeats_when_its_time_is_over_ends_with_an_error() -> None:
    stream = Stream(max_answer_seconds=0.2, early_commit=0.02, heartbeat=0.02)
    await stream.end()
    assert stream.client.body.startswith(b": keep-alive")
    assert b"answer_too_long" in stream.client.history[-1]["body"]
    assert b"done_reason" not in stream.client.body
    assert stream.record.outcome == "rejected"


async def test_waiting_for_admission_is_not_part_of_an_answers_time() -> None:
    stream = Stream(max_answer_seconds=0.05, early_commit=0.02, heartbeat=0.02)
    stream.model.may_ask.clear()
    for _ in range(10):
        await stream.next_sent()
    stream.model.may_ask.set()
    stream.model.bytes.put_nowait(line())
    await stream.end()
    assert b'"done_reason":"length"' in stream.client.history[-1]["body"]


async def test_a_reader_that_takes_nothing_does_not_extend_the_longest_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.streaming.relay.FINAL_SEND_SECONDS", 0.05)
    stream = Stream(max_answer_seconds=0.1)
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    stream.client.reads.clear()
    stream.model.bytes.put_nowait(line())
    await stream.end()
    assert stream.model.released
    assert stream.client.aborted.is_set()


async def test_nothing_is_sent_behind_a_complete_answer_that_is_not_taken_when_it_is_stopped() -> None:
    """The server has its bytes already, and refuses any more."""
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    stream.client.reads.clear()
    stream.model.bytes.put_nowait(DONE)
    for _ in range(10):  # turns of the event loop, until the last event is being sent
        await asyncio.sleep(0)
    stream.model.on_release = stream.client.reads.set
    stream.generation.stop(Drained("restarting"))
    await stream.end()
    assert b"event: error" not in stream.client.body
