"""A server that fails several requests in a row gets no more, until it proves that it answers again."""

import pytest

from gateway.backends.breaker import FAILURES, FIRST_SECONDS, JITTER, LONGEST_SECONDS, Breaker
from gateway.backends.polling import POLL_SECONDS_MISSING, POLL_SECONDS_SEVERAL


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, times: int = FAILURES) -> None:
    for _ in range(times):
        breaker.failed()


def half_open(breaker: Breaker, clock: Clock) -> None:
    clock.now += LONGEST_SECONDS * (1 + JITTER)
    breaker.polled()


def test_a_server_that_is_well_again_gets_a_request_within_15_seconds() -> None:
    between_polls = POLL_SECONDS_MISSING + POLL_SECONDS_SEVERAL
    assert LONGEST_SECONDS * (1 + JITTER) + between_polls < 15


def test_a_few_failures_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    assert (breaker.passes, breaker.state) == (True, "closed")
    breaker.failed()
    assert (breaker.passes, breaker.state) == (False, "open")


def test_an_answer_between_them_keeps_it_closed(breaker: Breaker) -> None:
    fail(breaker, FAILURES - 1)
    breaker.succeeded()
    fail(breaker, FAILURES - 1)
    assert breaker.passes


def test_only_a_poll_after_its_time_makes_it_half_open(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += FIRST_SECONDS * (1 - JITTER) - 0.01
    breaker.polled()
    assert not breaker.passes
    clock.now += FIRST_SECONDS * 2 * JITTER + 0.02
    assert not breaker.passes
    breaker.polled()
    assert (breaker.passes, breaker.state) == (True, "half open")


def test_half_open_one_request_passes_at_a_time(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    half_open(breaker, clock)
    breaker.sent()
    assert not breaker.passes
    breaker.given_up()
    assert breaker.passes


def test_half_open_only_its_one_request_is_the_trial(breaker: Breaker, clock: Clock) -> None:
    assert not breaker.sent()
    fail(breaker)
    assert not breaker.sent()
    half_open(breaker, clock)
    assert breaker.sent()
    assert not breaker.sent()


def test_it_can_be_opened_without_failures(breaker: Breaker, clock: Clock) -> None:
    breaker.open()
    assert breaker.state == "open"
    half_open(breaker, clock)
    breaker.sent()
    breaker.open()
    assert breaker.state == "open"


def test_half_open_its_request_closes_it_or_opens_it_for_longer(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    half_open(breaker, clock)
    breaker.sent()
    breaker.failed()
    assert breaker.state == "open"
    clock.now += 2 * FIRST_SECONDS * (1 - JITTER) - 0.01
    breaker.polled()
    assert breaker.state == "open"
    half_open(breaker, clock)
    breaker.sent()
    breaker.succeeded()
    assert breaker.is_closed


def test_it_is_never_open_for_longer_than_its_longest_time(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    for _ in range(50):
        half_open(breaker, clock)
        assert breaker.state == "half open"
        breaker.failed()


def test_it_says_when_a_poll_can_make_it_half_open(breaker: Breaker, clock: Clock) -> None:
    assert breaker.half_open_in == 0
    fail(breaker)
    assert breaker.half_open_in == pytest.approx(FIRST_SECONDS, rel=JITTER)
    half_open(breaker, clock)
    assert breaker.half_open_in == 0


def test_it_tells_when_it_opens_and_closes_and_how_often_in_a_row(breaker: Breaker, clock: Clock) -> None:
    told: list[int] = []
    breaker.told = told.append
    breaker.succeeded()
    fail(breaker, FAILURES + 2)
    half_open(breaker, clock)
    breaker.sent()
    breaker.failed()
    half_open(breaker, clock)
    breaker.sent()
    breaker.succeeded()
    assert told == [1, 2, 0]


def test_it_follows_another_one_and_tells_nobody(breaker: Breaker, clock: Clock) -> None:
    told: list[int] = []
    breaker.told = told.append
    breaker.follow(3)
    assert breaker.half_open_in == pytest.approx(4 * FIRST_SECONDS, rel=JITTER)
    half_open(breaker, clock)
    assert breaker.sent()
    breaker.follow(10**6)
    assert breaker.state == "open"
    assert breaker.half_open_in <= LONGEST_SECONDS * (1 + JITTER)
    breaker.follow(0)
    assert breaker.passes
    fail(breaker, FAILURES - 1)
    breaker.follow(0)
    fail(breaker, FAILURES - 1)
    assert breaker.is_closed
    assert told == []
