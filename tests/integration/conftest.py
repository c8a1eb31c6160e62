"""Processes that the integration tests share."""

from collections.abc import Iterator

import pytest

from tests.integration.engines import running_engine


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an engine shared by all tests."""
    with running_engine({}, tmp_path_factory.mktemp("engine") / "engine.log") as (_, url):
        yield url
