import math

import pytest

from gateway.ask.durations import duration_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (2.5, 2.5),
        (-1, math.inf),
        ("0", 0),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("-1m", math.inf),
        ("300ms", 0.3),
        (None, None),
        (True, None),
        ("5", None),
        ("soon", None),
    ],
)
def test_a_duration_is_read_as_ollama_reads_it(value: object, seconds: float | None) -> None:
    assert duration_seconds(value) == (seconds if seconds is None else pytest.approx(seconds))
