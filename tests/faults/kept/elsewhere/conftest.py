"""The gateways of these tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.kept.elsewhere.stages import Stage, stage
from tests.integration.resume.gateways import wait_until_met


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture
def three(lasting: Stage) -> Iterator[Stage]:
    """Which a test may kill: they and the server come back."""
    wait_until_met(lasting.gateways)
    lasting.fake.pause()
    yield lasting
    lasting.fake.go_on()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stage]:
    """Which a test may stop."""
    with stage(tmp_path) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
        yield client
