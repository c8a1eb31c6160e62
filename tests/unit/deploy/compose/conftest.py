"""A machine made up for the test: its programs are small scripts, and there are no others."""

from pathlib import Path

import pytest

from deploy.compose.settings import Settings, read_settings
from tests.unit.deploy.compose.machine import MakeSettings, Program


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a program, given as the body of a shell script, on the PATH that was empty before."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def settings(tmp_path: Path) -> MakeSettings:
    """Settings as a .env with these variables would make them."""

    def make(**variables: object) -> Settings:
        return read_settings({name: str(value) for name, value in variables.items()}, tmp_path / "no.env")

    return make


@pytest.fixture
def docker(program: Program, tmp_path: Path) -> Path:
    """A folder in which a test writes what `docker compose` says to ps, logs and config."""
    program(
        "docker",
        f"""cd {tmp_path}
echo "$*" >> calls
case "$*" in
  *" ps "*) /bin/cat ps;;
  *" logs "*) /bin/cat logs;;
  *"--profile * config --services") echo nginx ollama ollama-gpu models;;
  *" config --services") echo nginx ollama-gpu models;;
esac""",
    )
    for name in ("ps", "logs"):
        (tmp_path / name).touch()
    return tmp_path
