"""`make run` and `make demo` with unusable folders and settings files."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.faults.native_run.runs import RUN, settings
from tests.processes import BIN, ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, with the installed programs of this one."""
    folder = tmp_path / "checkout"
    for part in ("deploy", "nginx"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "keys", "tls")
        )
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


def refusal(checkout: Path, fake: FakeOllama, *, command: str = "run", script: str = 'exec "$@"') -> str:
    """The output of a run that does not start."""
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *RUN[:-1], command],
        cwd=checkout,
        env={**os.environ, **settings(fake)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    return done.stdout


def odd_run_folders(checkout: Path) -> dict[str, Path]:
    """What takes the place of .run. Not even root can create files in /proc."""
    (checkout / "file").write_text("")
    return {"a file": checkout / "file", "dangling": checkout / "gone", "not writable": Path("/proc")}


@pytest.mark.parametrize("odd", ["a file", "dangling", "not writable"])
@pytest.mark.parametrize("command", ["run", "demo"])
def test_an_unusable_run_directory_is_named(fake: FakeOllama, checkout: Path, odd: str, command: str) -> None:
    (checkout / ".run").symlink_to(odd_run_folders(checkout)[odd])
    got = refusal(checkout, fake, command=command)
    assert re.fullmatch(r"the directory \.run/\d+ cannot be written \(.+\); .+\n", got)


def test_a_full_run_directory_is_named(fake: FakeOllama, checkout: Path) -> None:
    # With this limit, every write to a file fails, as on a full disk.
    got = refusal(checkout, fake, script='ulimit -f 0 && exec "$@"')
    assert re.fullmatch(
        r"the directory \.run/\d+ cannot be written \(.+\); .+free some space.+\n",
        got,
    )


@pytest.mark.parametrize(
    "content", ["PORT=1\n".encode("utf-16"), "PORT=1\n".encode("utf-16-le"), "A=ö\n".encode("latin-1")]
)
def test_an_env_file_in_another_encoding_is_named(fake: FakeOllama, checkout: Path, content: bytes) -> None:
    (checkout / ".env").write_bytes(content)
    assert refusal(checkout, fake) == ".env is not UTF-8, perhaps UTF-16; save it as UTF-8\n"


@pytest.mark.parametrize("target", [".", "/proc/self/mem"])
def test_an_unreadable_env_file_is_named(fake: FakeOllama, checkout: Path, target: str) -> None:
    (checkout / ".env").symlink_to(target)
    assert re.fullmatch(r"\.env cannot be read \(.+\); .+\n", refusal(checkout, fake))


def test_an_env_file_may_begin_with_a_byte_order_mark(fake: FakeOllama, checkout: Path) -> None:
    (checkout / ".env").write_bytes(b"\xef\xbb\xbfTLS=on\n")
    assert "TLS works only in containers" in refusal(checkout, fake)
