"""Runs the linters, and lists the files that they check."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import BIN, ROOT

# Linters whose locked package contains no program for this platform.
NO_PACKAGE = {"shellcheck": sys.platform == "linux" and platform.machine() != "x86_64"}


def repository_files(*patterns: str) -> list[Path]:
    """The tracked files, and untracked ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = {ROOT / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


def run(checker: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which(checker, path=BIN) or shutil.which(checker)
    if program is None and NO_PACKAGE.get(checker):
        pytest.skip(
            f"{checker} is missing: its Python package does not support this platform; install it yourself"
        )
    assert program, f"{checker} is missing: make lint installs it"
    return subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def assert_content(checker: str, *arguments: str | Path) -> None:
    """Fails with the linter's output if it reports anything."""
    done = run(checker, *arguments)
    assert done.returncode == 0, f"{checker} found:\n{done.stdout}{done.stderr}"
