"""The real processes that the integration tests share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import BIN, Process, free_port


@contextmanager
def running_engine(environment: Mapping[str, str], log: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    process = Process([str(BIN / "engine"), "serve"], {"ENGINE_PORT": str(port), **environment}, log)
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_ready(url)
        yield process, url
    finally:
        process.stop()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an engine that all tests share."""
    with running_engine({}, tmp_path_factory.mktemp("engine") / "engine.log") as (_, url):
        yield url
