"""The folder in which the workers of a gateway count."""

import shutil
import subprocess
import sys
from pathlib import Path

from gateway.telemetry import shared

MASTER = """
import os, sys
from gateway.telemetry import shared
shared.set_up()
print(shared.folder(), flush=True)
sys.stdin.read()
os._exit(9)  # as if it were killed
"""


def master() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", MASTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_a_start_removes_what_a_killed_gateway_has_left_and_nothing_of_one_that_runs() -> None:
    killed, stale = master()
    running, in_use = master()
    killed.communicate("")
    starting, fresh = master()
    assert not stale.exists()
    assert in_use.exists()
    for process in (running, starting):
        process.communicate("")
    for left in (in_use, fresh):
        shutil.rmtree(left, ignore_errors=True)


def test_a_start_leaves_alone_what_another_one_is_about_to_lock() -> None:
    code = (
        "import os; from gateway.telemetry import shared; allocate = os.posix_fallocate\n"
        "def during(*arguments):\n"
        "    allocate(*arguments); shared._remove_stale(shared.MEMORY)\n"
        "os.posix_fallocate = during; shared.set_up(); print(shared.folder().exists()); shared.clear()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("True\n", 0), ended.stderr


def test_a_new_worker_takes_the_first_place_that_is_free() -> None:
    assert shared.free_slot([]) == "0"
    assert shared.free_slot(["0", "2"]) == "1"


def test_metrics_that_were_imported_too_early_stop_the_start() -> None:
    """They would count in each worker alone, and a scrape would tell of one of them."""
    code = "from gateway.telemetry import metrics, shared; shared.set_up()"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "gateway.telemetry.metrics was imported before" in ended.stderr
    assert ended.returncode == 1


def test_a_reload_without_a_metrics_directory_is_no_failure() -> None:
    """gunicorn reads its configuration again; by then metrics.py has been imported."""
    code = (
        "from gateway.telemetry import shared; shared._create_in = lambda _: None; shared.set_up();"
        "from gateway.telemetry import metrics; shared.set_up(); print(shared.folder())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.returncode) == ("None\n", 0), ended.stderr
