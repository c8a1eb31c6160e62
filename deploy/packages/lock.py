"""Resolves every service's dependencies again and writes the locks: exact versions, with hashes.

Each is resolved within the versions of those before it, because all of them go into one environment. What
the gateway is compared with has an environment of its own.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from deploy import ROOT

UV = "uv==0.13.9"
SOURCES = (
    "services/gateway/pyproject.toml",
    "services/engine/pyproject.toml",
    "deploy/native/requirements.in",
    "tests/requirements.in",
    "tests/browser/requirements.in",
)
APART = "tests/load/peers/requirements.in"
# For every platform and Python from 3.11 on; --no-header and --no-annotate keep paths and options out.
OPTIONS = "--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade --quiet"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        uv = Path(folder) / "bin" / "uv"
        subprocess.run([f"{folder}/bin/pip", "install", "--quiet", UV], check=True)
        locks: list[Path] = []
        for source in (*SOURCES, APART):
            path = ROOT / source
            lock = path.with_name("requirements.txt")
            print(f"locking {lock.relative_to(ROOT)}", file=sys.stderr, flush=True)
            constrained_by = [] if source == APART else locks
            constraints = [argument for lock in constrained_by for argument in ("--constraints", str(lock))]
            group = ["--group", "build"] if path.name == "pyproject.toml" else []
            chosen = [*OPTIONS.split(), *group, *constraints]
            command = [str(uv), "pip", "compile", *chosen, path.name, "-o", lock.name]
            # In its own folder, where uv finds the pyproject.toml in which the engine excludes packages.
            subprocess.run(command, cwd=path.parent, check=True, env={**os.environ, "UV_NO_PROGRESS": "1"})
            locks.append(lock)


if __name__ == "__main__":
    main()
