"""The Valkey of these tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.valkey import Server, valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with valkey(tmp_path) as started:
        yield started
