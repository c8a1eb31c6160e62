"""How a stream ends: errors, drains, cancellation, and bytes after a complete answer."""

import asyncio
import gc
import json
import weakref
from functools import partial
from typing import Any

import pytest

from gateway.errors import Drained, ModelNotFound, UpstreamTruncated
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.relay.stream import Stream


async def test_an_error_before_the_first_byte_is_a_status() -> None:
    stream = Stream()
    stream.model.refusal = ModelNotFound("model 'x' not found")
    await stream.end()
    start, body = stream.client.history
    assert start["status"] == 404
    assert (b"content-type", b"application/json") in start["headers"]
    assert json.loads(body["body"])["error"]["message"] == "model 'x' not found"
    assert stream.record.outcome == "rejected"


async def test_an_error_after_the_first_byte_is_the_last_event() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    stream.model.bytes.put_nowait(UpstreamTruncated("gone"))
    await stream.end()
    assert stream.client.history[-1]["body"].startswith(b"event: error\ndata: ")
    assert stream.client.history[-1]["more_body"] is False
    assert stream.record.outcome == "truncated"


async def test_an_error_line_is_the_last_event_after_the_lines_before_it() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line("a") + b'{"error":"out of memory"}\n')
    await stream.end()
    assert stream.client.body.startswith(b"id: 1\ndata: ")
    assert b"event: error" in stream.client.history[-1]["body"]
    assert stream.record.outcome == "upstream_error"


async def test_a_defect_is_an_internal_error_that_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(RuntimeError("secret detail"))
    await stream.end()
    assert stream.client.history[0]["status"] == 500
    assert b"secret" not in stream.client.body
    assert "secret detail" in capsys.readouterr().out


@pytest.mark.parametrize("afterwards", [UpstreamTruncated("late"), RuntimeError("late"), b"more"])
async def test_what_comes_after_a_complete_answer_changes_nothing(afterwards: Any) -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(DONE)
    await stream.next_sent()
    await stream.next_sent()
    stream.model.bytes.put_nowait(afterwards)
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert stream.record.outcome == "ok"
    assert len(stream.client.history) == 2


async def test_the_end_of_upstreams_body_is_read_so_that_its_connection_can_be_used_again() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(DONE)
    stream.model.bytes.put_nowait(b"")
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert stream.model.bytes.empty()


async def test_a_drain_ends_a_stream_with_an_error_event() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    for running in tuple(stream.generations):
        running.stop(Drained("restarting"))
    await stream.end()
    assert b"shutting_down" in stream.client.history[-1]["body"]
    assert stream.record.outcome == "drained"


async def test_a_cancelled_stream_still_gets_its_terminal_event() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    stream.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.end()
    assert b"event: error" in stream.client.history[-1]["body"]
    assert stream.model.released
    assert stream.record.outcome == "drained"


async def test_a_failure_that_another_one_overtakes_leaves_no_reference_cycle() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(b"nonsense\n")
    generation = stream.generation
    stream.model.on_release = partial(generation.stop, Drained("restarting"))
    gc.disable()
    try:
        await stream.end()
        assert stream.record.outcome == "drained"
        dialect = weakref.ref(generation.dialect)
        del stream, generation
        assert dialect() is None
    finally:
        gc.enable()
