"""What several tests of the gateway's insides need."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """The gateway's own way of logging is the process's."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
