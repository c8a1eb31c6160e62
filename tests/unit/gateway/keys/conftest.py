"""A key file that each test fills."""

from pathlib import Path

import pytest

from gateway.access.key_file import KeyFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def file(path: Path) -> KeyFile:
    return KeyFile(path)
