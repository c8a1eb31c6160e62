"""`make verify` for the containers: what it asks Docker to run, and how it ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.compose.docker_cli import CommandFailed
from deploy.compose.verify import verify
from tests.outputs import OUTPUTS
from tests.processes import ROOT, Process, wait_until
from tests.unit.deploy.compose.machine import MakeSettings, Program, write_ps

VERIFY = [sys.executable, "-m", "deploy.compose.verify"]


@pytest.fixture
def docker(program: Program, tmp_path: Path) -> Path:
    """A Docker with a running stack. `docker run` prints a record, and waits if a test says so."""
    program(
        "docker",
        f"""cd {tmp_path}
case "$*" in
  *" ps "*) /bin/cat ps;;
  inspect*) echo sha256:1;;
  exec*) echo 'nginx version: nginx/1.30.0' >&2;;
  version*) echo 28.0.0;;
  "compose version --short") echo 2.30.0;;
  run*) echo "$SLUICE_KEY $*" > started; trap 'exit 130' INT; echo '{{"verdict": "streamed"}}'
        while [ -e wait ]; do /bin/sleep 0.05; done; exit 3;;
esac""",
    )
    write_ps(tmp_path, ("gateway", "running", {}), ("nginx", "running", {}))
    return tmp_path


def test_the_running_image_verifies_the_stack_and_its_status_is_returned(
    docker: Path, settings: MakeSettings
) -> None:
    told = settings(PORT=8123, SLUICE_KEY="secret")
    assert verify(told, told.url, str(docker / "record.json")) == 3
    key, _, command = (docker / "started").read_text().partition(" ")
    assert key == "secret"
    assert "secret" not in command
    assert " sha256:1 verify --url http://127.0.0.1:8123 " in command
    assert "--program nginx=1.30.0 " in command
    assert f"--out {docker}/record.json" in command


def test_without_a_running_gateway_it_says_how_to_start_one(docker: Path, settings: MakeSettings) -> None:
    (docker / "ps").write_text("")
    with pytest.raises(CommandFailed, match="make up"):
        verify(settings(), "http://127.0.0.1:8000", None)


@pytest.mark.usefixtures("docker")
@pytest.mark.parametrize("output", ["its reader is gone", "its disk is full"])
def test_a_broken_output_is_no_traceback(output: str) -> None:
    with OUTPUTS[output]() as descriptor:
        done = subprocess.run(VERIFY, stdout=descriptor, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr


def test_ctrl_c_waits_for_what_docker_runs_and_is_no_traceback(docker: Path, tmp_path: Path) -> None:
    (docker / "wait").touch()
    process = Process(VERIFY, {}, tmp_path / "log")
    wait_until((docker / "started").exists, 30, "it runs")
    process.popen.send_signal(signal.SIGINT)  # the terminal would send it to both
    (docker / "wait").unlink()
    assert process.popen.wait(30) == 130
    assert "Traceback" not in process.output
