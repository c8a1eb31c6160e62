"""The relay driven by hand: the test is the server on one side and the model on the other."""

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from gateway.ask.waiting import Waiting
from gateway.backends.client import UpstreamAnswer
from gateway.backends.response_body import Sink
from gateway.dialects.api import CHAT
from gateway.dialects.chat_sse import ChatSSE
from gateway.errors import Drained, GatewayError, ModelNotFound, UpstreamTruncated
from gateway.settings import Settings
from gateway.streaming.generation import Generation
from gateway.streaming.relay import Relay
from gateway.telemetry.metrics import HEARTBEATS, IN_FLIGHT, STALLED_READERS
from gateway.telemetry.record import RequestRecord
from gateway.turnstile import Turnstiles
from tests.fakes.ollama import DONE, line

FOR_EVER = 1000.0


class Model:
    """Upstream: what the test puts in comes out; an exception is raised; None is the end."""

    def __init__(self) -> None:
        self.bytes: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.opened = asyncio.Event()
        self.may_be_accepted = asyncio.Event()
        self.may_be_accepted.set()
        self.may_ask, self.may_open = asyncio.Event(), asyncio.Event()
        self.may_ask.set()
        self.may_open.set()
        self.loads = False
        self.on_release: Callable[[], None] | None = None
        self.refusal: GatewayError | None = None
        self.released = self.left = False

    @asynccontextmanager
    async def answer(self, waiting: Waiting) -> AsyncIterator[UpstreamAnswer]:
        self.opened.set()
        try:
            await self.may_be_accepted.wait()
            waiting.accepted()
            await self.may_ask.wait()
            waiting.asked("ollama")
            if self.loads:
                waiting.waits_for("loading", since=1)
            await self.may_open.wait()
            if self.refusal:
                raise self.refusal
            yield Answer(self)
        finally:
            await asyncio.sleep(0)  # what a connection takes to close
            self.released = True
            on_release, self.on_release = self.on_release, None
            if on_release:
                on_release()


class Answer(UpstreamAnswer):
    def __init__(self, model: Model) -> None:
        self.status = 200
        self.media_type = "application/x-ndjson"
        self._model = model
        self._items = model.bytes
        self._stopped = False

    async def stream_into(self, sink: Sink) -> None:
        self._stopped = False
        while not self._stopped and (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if awaited := sink(item):
                await awaited

    def stop(self) -> None:
        self._stopped = True

    def discard(self) -> None:
        self._model.left = True


class Client:
    """The server's side of ASGI, and the connection that it lets the application use."""

    def __init__(self) -> None:
        self.on_lost: Callable[[], None] | None = None
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.history: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.aborted = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.history.append(message)
        self.sent.put_nowait(message)

    def write(self, body: bytes) -> Awaitable[None] | None:
        sending = self.send({"type": "http.response.body", "body": body, "more_body": True})
        if not self.reads.is_set():
            return sending
        with pytest.raises(StopIteration):  # it has nothing to wait for
            sending.send(None)
        return None

    def abort(self) -> None:
        self.aborted.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.history)


class Stream:
    """A relay that runs, with both of its ends."""

    def __init__(self, **settings: Any) -> None:
        limits = {"early_commit": FOR_EVER, "first_byte_timeout": FOR_EVER, "heartbeat": FOR_EVER}
        self.model = Model()
        self.client = Client()
        self.record = RequestRecord(request_id="req-1", client="127.0.0.1")
        self.generations: set[Generation] = set()
        self.record.asks("chat", streams=True)
        self.generation = Generation(ChatSSE(1_000_000), self.record, self.model.answer, Turnstiles())
        limited = Settings(**{**limits, **settings})
        self.relay = Relay(limited, self.record, CHAT, self.generation, self.generations, Turnstiles())
        self.task = asyncio.create_task(self.relay.run(self.client.receive, self.client.send, self.client))

    async def end(self) -> None:
        """When it returns the model is free, and no task is left behind."""
        async with asyncio.timeout(10):
            await self.task
            assert self.model.released or not self.model.opened.is_set()
            while asyncio.all_tasks() != {asyncio.current_task()}:  # noqa: ASYNC110 - a step or two
                await asyncio.sleep(0)

    async def next_sent(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self.client.sent.get()


def _in_flight() -> float:
    return sum(sample.value for metric in IN_FLIGHT.collect() for sample in metric.samples)


@pytest.fixture(autouse=True)
def _everything_is_settled() -> Any:
    before = _in_flight()
    yield
    assert _in_flight() == before


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


async def test_an_upstream_that_stalls_midway_is_cut() -> None:
    stream = Stream(idle_timeout=0.05)
    stream.model.bytes.put_nowait(line())
    await stream.end()
    assert b"upstream_timeout" in stream.client.history[-1]["body"]
    assert stream.record.outcome == "timeout"


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


async def test_a_first_byte_timeout_below_the_heartbeat_is_kept_by_a_whole_answer_too() -> None:
    stream = Stream(
        first_byte_timeout=0.05, early_commit=0.05, heartbeat=60, idle_timeout=60, send_timeout=60
    )
    await stream.end()
    assert stream.record.outcome == "timeout"
    assert stream.client.history[0]["status"] == 504


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
