"""Commands keep going, and end without a traceback, whatever becomes of their terminal."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outputs import OUTPUTS
from tests.processes import ROOT, Process, wait_until

SHOWS_PROGRESS = [
    sys.executable,
    "-c",
    "import sys\n"
    "from deploy.compose.checks.result import ok, report\n"
    "from deploy.terminal.status_line import StatusLine\n"
    "status = StatusLine(); status.show('waiting'); status.end(); report([ok('good')], sys.stdout)",
]
WAITS = (
    "import time\n"
    "from deploy.terminal.command import exit_with\n"
    "def main():\n"
    "    print('waiting', flush=True)\n"
    "    time.sleep(60)\n"
    "exit_with(main)"
)


@pytest.mark.parametrize("output", ["its reader is gone", "its disk is full"])
def test_a_command_goes_on_though_nobody_takes_its_messages(output: str) -> None:
    with OUTPUTS[output]() as descriptor:
        done = subprocess.run(SHOWS_PROGRESS, stdout=descriptor, stderr=descriptor, cwd=ROOT, check=False)
    assert done.returncode == 0


def test_a_command_goes_on_without_standard_streams() -> None:
    closed = ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", *SHOWS_PROGRESS]
    assert subprocess.run(closed, cwd=ROOT, check=False).returncode == 0


def test_ctrl_c_ends_a_command_without_a_traceback(tmp_path: Path) -> None:
    process = Process([sys.executable, "-c", WAITS], {}, tmp_path / "log")
    wait_until(lambda: "waiting" in process.output, 30, "it waits")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(30) == 130
    assert process.output == "waiting\n"
