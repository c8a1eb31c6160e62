"""A server that accepts requests and never answers, while it answers polls."""

import asyncio

import httpx
import pytest

from gateway.backends import silence
from gateway.backends.silence import Silence
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.apis import CHAT
from tests.integration.queue.queues import until
from tests.unit.gateway.in_process import running


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(silence, "time", clock)
    return clock


def test_who_should_have_answered_by_now_is_silent(clock: Clock) -> None:
    heard = Silence()
    request = heard.asked(10)
    clock.now += 9
    assert heard.since is None
    clock.now += 2
    assert heard.since == pytest.approx(0, abs=0.1)
    heard.ended(request)
    assert heard.since is None


def test_an_answer_to_anybody_shows_that_a_server_answers(clock: Clock) -> None:
    heard = Silence()
    heard.asked(10)
    clock.now += 11
    heard.answered()
    assert heard.since is None


def test_a_long_wait_that_is_expected_hides_no_other(clock: Clock) -> None:
    heard = Silence()
    heard.asked(1000)
    heard.asked(10)
    clock.now += 11
    assert heard.since is not None


def test_after_it_was_noticed_only_later_requests_count(clock: Clock) -> None:
    heard = Silence()
    heard.asked(10)
    clock.now += 11
    heard.noticed()
    assert heard.since is None
    heard.asked(10)
    clock.now += 11
    assert heard.since is not None


def test_those_who_leave_before_they_lose_patience_count_together(clock: Clock) -> None:
    heard = Silence()
    for _ in range(2):
        request = heard.asked(10)
        clock.now += 4
        assert heard.since is None
        heard.left(request)
        heard.ended(request)
    heard.asked(10)
    clock.now += 4
    assert heard.since == pytest.approx(0, abs=0.1)
    heard.answered()
    heard.asked(10)
    clock.now += 9
    assert heard.since is None


async def answered(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.post(f"{url}{CHAT.path}", json=CHAT.request("m"))


@pytest.mark.usefixtures("logging_as_before")
async def test_requests_that_it_has_are_answered_by_another_and_it_gets_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS", 0.5)
    with FakeOllama().running() as silent, FakeOllama().running() as other:
        for fake in (silent, other):
            fake.loaded = [{"name": "m:latest"}]
        silent.answer("m", Do.HANG)
        other.answer("m", line(), DONE)
        urls = f"{silent.url} name=silent weight=1000, {other.url} name=other weight=0.01"
        async with running("http://127.0.0.1:9", ollama_urls=urls, heartbeat=0.2) as url:
            await until(lambda: silent.polls and other.polls, "both are polled")
            hanging = [asyncio.create_task(answered(url)) for _ in range(3)]
            await until(lambda: len(silent.received) == 3, "the silent server has them")
            # Its fellow has to answer somebody: else all of them may be slow.
            while not all(task.done() for task in hanging):
                assert (await answered(url)).status_code == 200
                await asyncio.sleep(0.1)
            for task in hanging:
                assert CHAT.terminals(task.result().content) == 1
                assert not CHAT.tells_an_error(task.result().content)
