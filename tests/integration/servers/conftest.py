"""A gateway in front of three servers; started once a session, because a start takes seconds."""

from collections.abc import Iterator

import pytest

from tests.integration.servers.fleet import Fleet, fleet


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("servers"), ["gpu1", "gpu2", "gpu3"]) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def one_down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The first of three servers is down."""
    with fleet(tmp_path_factory.mktemp("down"), ["gpu1", "gpu2", "gpu3"], dead=["gpu1"]) as running:
        running.process.wait_ready(f"{running.url}/readyz")
        yield running
