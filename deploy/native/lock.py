"""Resolves every service's dependencies anew and writes the locks: exact versions, with hashes.

One after the other, each held to what the ones before it chose, because the native run installs all of them
into one environment. What the gateway is compared with has one of its own.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = "uv==0.13.9"
SOURCES = (
    "services/gateway/pyproject.toml",
    "services/engine/pyproject.toml",
    "deploy/native/requirements.in",
    "tests/requirements.in",
    "deploy/grafana/requirements.in",
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
            held_to = [] if source == APART else locks
            constraints = [argument for earlier in held_to for argument in ("--constraints", str(earlier))]
            group = ["--group", "build"] if path.name == "pyproject.toml" else []
            chosen = [*OPTIONS.split(), *group, *constraints]
            command = [str(uv), "pip", "compile", *chosen, path.name, "-o", lock.name]
            # From within the folder: uv reads what is left out of the engine's lock from its pyproject.toml.
            subprocess.run(command, cwd=path.parent, check=True, env={**os.environ, "UV_NO_PROGRESS": "1"})
            locks.append(lock)


if __name__ == "__main__":
    main()
