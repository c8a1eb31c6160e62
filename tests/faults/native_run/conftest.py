"""A fake Ollama, so that the start is fast."""

from collections.abc import Iterator

import pytest

from tests.fakes.ollama import DONE, FakeOllama, line


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        server.answer("m", line(), DONE)
        yield server
