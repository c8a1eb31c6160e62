from pathlib import Path

import pytest

from deploy.compose import up
from deploy.compose.readiness import StartFailed
from deploy.compose.up import start
from tests.unit.deploy.compose.machine import MakeSettings, Program, write_ps


def test_the_model_server_of_another_profile_is_removed_before_the_start(
    docker: Path, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up, "before_start", lambda _: [])
    write_ps(docker, ("nginx", "running", {}), ("ollama", "running", {}), ("an-orphan", "running", {}))
    start(settings())
    calls = (docker / "calls").read_text().splitlines()
    assert calls[-3:] == [
        "compose build",
        "compose --profile * rm --stop --force ollama",
        "compose up --detach --build --remove-orphans",
    ]
    assert "Removing containers of another profile (ollama)" in capsys.readouterr().err


def test_what_runs_is_left_alone_when_the_other_profile_cannot_be_built(
    docker: Path, program: Program, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "before_start", lambda _: [])
    monkeypatch.setattr(up, "_of_other_profiles", lambda: ["ollama"])
    program("docker", f'echo "$*" >> {docker}/calls; exit 1')
    with pytest.raises(StartFailed, match="What was running still is"):
        start(settings())
    assert (docker / "calls").read_text() == "compose build\n"


def test_nothing_is_removed_when_the_profile_stays(docker: Path) -> None:
    write_ps(docker, ("nginx", "running", {}), ("ollama-gpu", "running", {}), ("models", "exited", {}))
    assert up._of_other_profiles() == []


def test_nothing_is_started_when_the_doctor_fails(
    program: Program, settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = program("docker", "exit 1").with_name("calls")
    program("docker", f"echo \"$*\" >> {calls}; echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    with pytest.raises(StartFailed, match="Nothing was started"):
        start(settings())
    assert "systemctl start docker" in capsys.readouterr().err
    assert " up " not in calls.read_text()
