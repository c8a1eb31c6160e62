"""One stack shared by the tests, each of which waits until it is ready."""

from collections.abc import Iterator

import pytest

from tests.stack.containers import Containers, running


@pytest.fixture(scope="session")
def started() -> Iterator[tuple[Containers, float]]:
    with running() as stack:
        yield stack


@pytest.fixture
def stack(started: tuple[Containers, float]) -> Containers:
    started[0].wait_ready()
    return started[0]


@pytest.fixture(scope="session")
def seconds_to_ready(started: tuple[Containers, float]) -> float:
    return started[1]
