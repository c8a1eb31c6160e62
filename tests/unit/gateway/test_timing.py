from gateway.commands.verify.timing import measure

MADE = [1000 + index / 50 for index in range(100)]


def test_events_that_arrive_as_they_are_made_are_streamed() -> None:
    timing = measure([at - 999.9 + 0.001 * (index % 3) for index, at in enumerate(MADE)], MADE)
    assert timing.streamed is True
    assert timing.events == timing.distinct_arrivals == 100


def test_events_that_all_arrive_at_the_end_are_buffered() -> None:
    assert measure([2.1] * 100, MADE).streamed is False


def test_events_that_arrive_in_a_few_lumps_are_buffered() -> None:
    assert measure([1.1] * 50 + [2.1] * 50, MADE).streamed is False


def test_a_single_hiccup_is_not_buffering() -> None:
    arrived = [at - 999.9 for at in MADE]
    arrived[40:50] = [arrived[50]] * 10
    assert measure(arrived, MADE).streamed is True


def test_without_stamps_there_is_no_verdict() -> None:
    assert measure([0.1, 0.2], [None, None]).streamed is None
