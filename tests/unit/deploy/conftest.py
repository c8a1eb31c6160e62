"""A stack for both runs."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.deploy.compose.machine import FakeStack


@pytest.fixture
def stack() -> Iterator[FakeStack]:
    """Answers on a port of this machine as the test sets it up."""
    with FakeStack() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
