"""A gateway in front of two model servers, of which the first is asked first."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.failover.pairs import Pair, pair


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Pair]:
    with (
        FakeOllama().running() as first,
        FakeOllama().running() as second,
        pair(tmp_path, first, second) as two,
    ):
        yield two
