"""Engines with the real model, each started once a session, because a start takes seconds."""

from collections.abc import Iterator

import pytest

from tests.integration.engines import busy, engine_with_odd_models, running_engine
from tests.processes import Process, wait_until


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an engine shared by all tests."""
    with running_engine({}, tmp_path_factory.mktemp("engine") / "engine.log") as (_, url):
        yield url


@pytest.fixture
def idle(engine: str) -> str:
    """The shared engine, once no request of earlier tests is running."""
    wait_until(lambda: busy(engine) == 0, 10, "no slot is busy")
    return engine


@pytest.fixture(scope="session")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    """The process and URL of an engine with one slot, a short queue, and odd models."""
    with engine_with_odd_models(tmp_path_factory.mktemp("models")) as running:
        yield running
