import math

import pytest

from engine.api.timing import rfc3339
from engine.durations import FOREVER, keep_alive_seconds, parse_duration
from engine.errors import BadRequestError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("-1m", -60),
        ("+2s", 2),
        ("100ms", 0.1),
        ("3us", 3e-6),
        ("3µs", 3e-6),
        ("24h", 86400),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    assert math.isclose(parse_duration(text), seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 m", "5d", "--5m", "1h-5m", ".s", "1e3s", "٣s", "5m\n"])
def test_what_go_refuses_is_refused_in_its_words(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (30, 30), (1.5, 1.5), ("10m", 600), (-1, FOREVER), ("-1m", FOREVER), (1e300, FOREVER)],
)
def test_keep_alive_is_seconds_or_a_duration_and_negative_means_for_ever(
    value: object, seconds: float
) -> None:
    assert keep_alive_seconds(value) == seconds


@pytest.mark.parametrize("value", [True, [], {}, "soon"])
def test_other_values_of_keep_alive_are_refused(value: object) -> None:
    with pytest.raises(BadRequestError):
        keep_alive_seconds(value)


def test_times_have_nanoseconds_without_trailing_zeros() -> None:
    assert rfc3339(1_795_333_345_120_000_001) == "2026-11-22T07:42:25.120000001Z"
    assert rfc3339(1_795_333_345_120_000_000) == "2026-11-22T07:42:25.12Z"
    assert rfc3339(1_795_333_345_000_000_000) == "2026-11-22T07:42:25Z"


def test_for_ever_is_a_time_that_can_be_written() -> None:
    assert rfc3339(int((1_795_333_345 + FOREVER) * 10**9)).startswith("2319-")
