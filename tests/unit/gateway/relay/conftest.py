"""No test of the relay leaves a request in flight."""

from typing import Any

import pytest

from gateway.telemetry.metrics import IN_FLIGHT


def _in_flight() -> float:
    return sum(sample.value for metric in IN_FLIGHT.collect() for sample in metric.samples)


@pytest.fixture(autouse=True)
def _everything_is_settled() -> Any:
    before = _in_flight()
    yield
    assert _in_flight() == before
