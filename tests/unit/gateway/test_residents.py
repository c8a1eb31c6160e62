import math
import time

import pytest

from gateway.ask.affinity import LoadOptions
from gateway.backends.listing import LoadedModel
from gateway.backends.residents import Residents

NONE: LoadOptions = frozenset()
LARGE: LoadOptions = frozenset({("num_ctx", "8192")})


class Clock:
    """Both clocks at once, in seconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def residents(clock: Clock) -> Residents:
    """The model `m` has been loaded with the options `LARGE`, and polled since."""
    residents = Residents()
    residents.loaded("m", LARGE)
    clock.now += 1
    residents.polled([polled("m", clock, 300)], clock.now)
    return residents


def polled(name: str, clock: Clock, seconds: float, context: int = 8192) -> LoadedModel:
    """A model in memory that is unloaded in so many seconds."""
    return LoadedModel(name, 1, 0, clock.now + seconds, context)


def test_a_model_is_ready_with_the_options_it_was_loaded_with(residents: Residents) -> None:
    assert residents.ready("m", LARGE)
    assert not residents.ready("m", NONE)
    assert not residents.ready("n", NONE)


def test_a_model_that_somebody_else_loaded_has_unknown_options(clock: Clock) -> None:
    residents = Residents()
    residents.polled([polled("m", clock, 300)], clock.now)
    assert "m" in residents
    assert not residents.ready("m", NONE)
    residents.loaded("m", NONE)
    assert residents.ready("m", NONE)


def test_a_model_that_is_not_listed_any_more_is_not_ready(residents: Residents, clock: Clock) -> None:
    clock.now += 10
    residents.polled([], clock.now)
    assert "m" not in residents
    assert not residents.ready("m", LARGE)


def test_what_is_heard_during_a_poll_is_newer_than_the_poll(residents: Residents, clock: Clock) -> None:
    clock.now += 10
    began = clock.now
    clock.now += 0.1
    residents.loaded("n", NONE)
    residents.doubt("m")
    residents.polled([polled("m", clock, 300)], began)
    assert residents.ready("n", NONE)
    assert not residents.ready("m", LARGE)


def test_a_model_is_ready_until_it_is_unloaded(residents: Residents, clock: Clock) -> None:
    clock.now += 10
    residents.polled([polled("m", clock, 5)], clock.now)
    clock.now += 4
    assert residents.ready("m", LARGE)
    clock.now += 2
    assert not residents.ready("m", LARGE)
    residents.answered("m")
    assert residents.ready("m", LARGE)


def test_a_model_that_stays_beyond_its_time_is_in_use(residents: Residents, clock: Clock) -> None:
    clock.now += 10
    residents.polled([polled("m", clock, -5)], clock.now)
    clock.now += 1
    assert residents.ready("m", LARGE)


@pytest.mark.parametrize(
    ("keep", "ready"), [(0, False), (5, False), (60, True), (math.inf, True), (None, True)]
)
def test_a_model_stays_after_an_answer_for_as_long_as_its_request_said(
    residents: Residents, clock: Clock, keep: float | None, ready: bool
) -> None:
    residents.asked("m", LARGE, keep)
    residents.answered("m")
    clock.now += 5
    assert residents.ready("m", LARGE) is ready
    residents.loaded("m", LARGE)
    clock.now += 5
    assert residents.ready("m", LARGE)


def test_after_a_load_the_others_may_have_left_until_a_poll_lists_them(
    residents: Residents, clock: Clock
) -> None:
    residents.loaded("n", NONE)
    residents.doubt_others("n")
    assert residents.ready("n", NONE)
    assert not residents.ready("m", LARGE)
    assert "m" in residents
    clock.now += 1
    residents.polled([polled("m", clock, 300), polled("n", clock, 300)], clock.now)
    assert residents.ready("m", LARGE)


def test_after_a_change_of_models_a_poll_does_not_make_one_ready(residents: Residents, clock: Clock) -> None:
    residents.forget()
    clock.now += 1
    residents.polled([polled("m", clock, 300)], clock.now)
    assert not residents.ready("m", LARGE)


def test_another_context_means_that_somebody_else_had_the_model_loaded(
    residents: Residents, clock: Clock
) -> None:
    clock.now += 10
    residents.polled([polled("m", clock, 300, context=4096)], clock.now)
    assert not residents.ready("m", LARGE)


def test_the_options_of_an_answered_request_are_those_of_the_model(clock: Clock) -> None:
    residents = Residents()
    residents.asked("m", LARGE, None)
    assert "m" not in residents
    assert not residents.ready("m", LARGE)
    residents.answered("m")
    assert residents.ready("m", LARGE)
