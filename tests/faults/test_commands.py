"""The gateway's commands with an output that takes nothing, and with Ctrl-C."""

import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.access.key_file import KeyFile
from tests.outputs import broken, full
from tests.processes import BIN

OUTPUTS = {"Broken pipe": broken, "No space left on device": full}


@pytest.mark.parametrize(("says", "output"), OUTPUTS.items(), ids=["broken", "full"])
def test_a_command_that_cannot_write_says_so_in_one_line(
    says: str, output: Callable[[], AbstractContextManager[int]], tmp_path: Path
) -> None:
    keys = {"GATEWAY_KEYS_FILE": str(tmp_path / "keys"), "PYTHONUNBUFFERED": "1"}
    subprocess.run([BIN / "gateway", "keys", "create", "alice"], env=keys, check=True, timeout=60)
    with output() as descriptor:
        done = subprocess.run(
            [BIN / "gateway", "keys", "list"],
            env=keys,
            stdout=descriptor,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.stderr == f"gateway: {says}\n"
    assert done.returncode == 1


def test_a_key_that_cannot_be_shown_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    with full() as descriptor:
        done = subprocess.run(
            [BIN / "gateway", "keys", "create", "alice"],
            env={"GATEWAY_KEYS_FILE": str(file)},
            stdout=descriptor,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    (key,) = KeyFile(file).read()
    _, reported, reason = done.stderr.splitlines()
    assert reported.endswith(f"gateway keys revoke {key.id}")
    assert reason == "gateway: No space left on device"
    assert done.returncode == 1


def test_ctrl_c_ends_verify_without_a_traceback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [str(BIN / "gateway"), "verify", "--url", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as verify:
            silent.settimeout(60)
            connection, _ = silent.accept()
            with connection:
                verify.send_signal(signal.SIGINT)
                said, _ = verify.communicate(timeout=60)
    assert verify.returncode == 130
    assert said == ""
