"""What the client gets and when, and what happens when it reads slowly or leaves."""

import asyncio
import json

import pytest

from gateway.telemetry.metrics import STALLED_READERS
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.relay.stream import Stream


async def test_each_read_is_one_write_and_nothing_waits_for_the_next() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line("a") + line("b"))
    assert (await stream.next_sent())["type"] == "http.response.start"
    assert (await stream.next_sent())["body"].count(b"data:") == 2
    stream.model.bytes.put_nowait(line("c"))
    assert (await stream.next_sent())["body"].count(b"data:") == 1
    stream.model.bytes.put_nowait(DONE)
    assert (await stream.next_sent())["more_body"] is False
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert (stream.record.outcome, stream.record.chunks) == ("ok", 4)
    assert (stream.record.prompt_tokens, stream.record.output_tokens) == (11, 3)


async def test_the_response_ends_with_the_last_line_even_if_upstream_stays_open() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(DONE)
    await stream.next_sent()
    assert (await stream.next_sent())["more_body"] is False
    stream.client.gone.set()  # what uvicorn's receive() says once a response is complete
    await stream.end()
    assert stream.record.outcome == "ok"
    assert stream.model.released


@pytest.mark.parametrize("phase", ["connecting", "before the first byte", "mid-stream"])
async def test_a_client_that_leaves_frees_the_model(phase: str) -> None:
    stream = Stream()
    if phase == "connecting":
        stream.model.may_open.clear()
    await stream.model.opened.wait()
    if phase == "mid-stream":
        stream.model.bytes.put_nowait(line())
        await stream.next_sent()
        await stream.next_sent()
    stream.client.gone.set()
    await stream.end()
    assert stream.model.released
    assert stream.record.outcome == "client_gone"
    assert stream.record.status == 499
    assert not stream.generations


async def test_a_client_that_leaves_while_it_is_not_reading_frees_the_model() -> None:
    stream = Stream()
    stream.client.reads.clear()
    stream.model.bytes.put_nowait(line())
    await stream.model.opened.wait()
    stream.client.gone.set()
    await stream.end()
    assert stream.model.released
    assert stream.record.outcome == "client_gone"


async def test_nothing_more_is_read_from_the_moment_at_which_the_client_is_lost() -> None:
    """Not when its task is woken: of many that leave together, each would be read for until then."""
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    assert stream.client.on_lost
    stream.client.on_lost()
    assert stream.model.left
    await stream.end()
    assert stream.record.outcome == "client_gone"
    assert stream.client.on_lost is None


async def test_large_reads_take_turns_and_come_out_whole_and_in_order() -> None:
    streams = [Stream() for _ in range(5)]
    for stream in streams:
        stream.model.bytes.put_nowait(line("a"))
        stream.model.bytes.put_nowait(line("x" * 500_000) + line("b"))
        stream.model.bytes.put_nowait(DONE)
        stream.model.bytes.put_nowait(None)
    for stream in streams:
        await stream.end()
        contents = [json.loads(event.split(b"data: ")[1]) for event in stream.client.body.split(b"\n\n")[:-1]]
        texts = [content["message"]["content"] for content in contents]
        assert texts == ["a", "x" * 500_000, "b", ""]
        assert stream.record.outcome == "ok"


async def test_a_large_read_that_has_more_than_the_answer_ends_it_once() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line("a"))
    stream.model.bytes.put_nowait(DONE + line("x" * 500_000) + DONE)
    await stream.end()
    assert stream.client.body.count(b'"done":true') == 1
    assert [message["more_body"] for message in stream.client.history[1:]].count(False) == 1


async def test_a_reader_that_takes_nothing_is_let_go() -> None:
    dropped_before = STALLED_READERS._value.get()
    stream = Stream(send_timeout=0.05)
    stream.client.reads.clear()
    stream.model.bytes.put_nowait(line())
    await stream.end()
    assert stream.model.released
    assert stream.client.aborted.is_set()
    assert stream.record.outcome == "client_gone"
    assert STALLED_READERS._value.get() == dropped_before + 1


@pytest.mark.parametrize("leaves", [True, False])
async def test_an_answer_whose_last_event_is_not_taken_is_not_complete(leaves: bool) -> None:
    stream = Stream(send_timeout=1000 if leaves else 0.05)
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    stream.client.reads.clear()
    stream.model.bytes.put_nowait(DONE)
    for _ in range(10):  # turns of the event loop, until the last event is being sent
        await asyncio.sleep(0)
    if leaves:
        stream.client.gone.set()
    await stream.end()
    assert stream.record.outcome == "client_gone"
    assert stream.client.aborted.is_set() is not leaves


async def test_a_slow_reader_holds_upstream_back() -> None:
    stream = Stream()
    stream.client.reads.clear()
    for _ in range(3):
        stream.model.bytes.put_nowait(line())
    await stream.model.opened.wait()
    for _ in range(100):  # turns of the event loop, far more than passing everything on would take
        await asyncio.sleep(0)
    assert stream.model.bytes.qsize() == 2
    stream.client.gone.set()
    await stream.end()


async def test_chunks_can_be_counted_while_the_stream_runs() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line("a") + line("b"))
    await stream.next_sent()
    await stream.next_sent()
    (generation,) = stream.generations
    generation.count_chunks()
    assert stream.record.chunks == 2
    stream.client.gone.set()
    await stream.end()
