"""In deploy/, modules import only from layers below their own; what runs first needs nothing installed."""

import ast
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

DEPLOY = ROOT / "deploy"
# From bottom to top. Packages in one layer do not import each other: native and compose share the one below.
FLOORS = [
    {"settings", "terminal", "grafana", "kubernetes"},
    {"packages", "native", "compose"},
]
# The same within the two larger packages, module by module.
FLOORS_WITHIN = {
    "native": [
        {"stop_signals", "output_writer", "stack", "program"},
        {"supervisor", "nginx", "runtime_dir", "next_steps"},
        {"programs"},
        {"lifecycle"},
        {"cli"},
        {"__main__"},
    ],
    "compose": [
        {"settings", "docker_cli", "pull_log", "model_sizes", "probe"},
        {"docker_engine", "stack_client"},
        {"checks", "readiness"},
        {"doctor", "next_steps", "certs", "verify"},
        {"up"},
    ],
}
# Packages that run under the system's Python: for the containers always, otherwise before the installation.
STANDARD_LIBRARY_ALONE = ("settings", "terminal", "packages", "compose")


def imports(path: Path) -> set[str]:
    """Dotted names of all modules that the file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports within deploy are absolute"
            assert node.module
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def check_floors(folder: Path, floors: list[set[str]]) -> None:
    height = {room: number for number, floor in enumerate(floors) for room in floor}
    package = ".".join(folder.relative_to(ROOT).parts)
    seen = set()
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).with_suffix("").parts[0]
        if room == "__init__":
            continue
        seen.add(room)
        for name in imports(path):
            other = name.removeprefix(f"{package}.").partition(".")[0]
            if name.startswith(f"{package}.") and other in height and other != room:
                assert height[other] < height[room], f"{path.relative_to(ROOT)} imports {name}"
    assert seen == set(height), f"{package}: modules and layers differ"


def test_the_packages_of_deploy_import_downwards_only() -> None:
    check_floors(DEPLOY, FLOORS)


def test_the_modules_of_each_large_package_import_downwards_only() -> None:
    for room, floors in FLOORS_WITHIN.items():
        check_floors(DEPLOY / room, floors)


def test_what_runs_before_the_installation_needs_only_the_standard_library() -> None:
    for room in STANDARD_LIBRARY_ALONE:
        for path in (DEPLOY / room).rglob("*.py"):
            packages = {name.partition(".")[0] for name in imports(path)}
            assert packages <= sys.stdlib_module_names | {"deploy"}, path
            used = {name.split(".")[1] for name in imports(path) if name.startswith("deploy.")}
            assert used <= {*STANDARD_LIBRARY_ALONE, "ROOT"}, path


def test_the_commands_for_containers_start_without_installed_packages() -> None:
    for command in ("up", "doctor", "certs", "verify"):
        # -S: without site-packages, so that nothing installed is found.
        code = f"import deploy.compose.{command}"
        done = subprocess.run(
            [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_an_old_python_gets_an_error_that_says_what_to_do() -> None:
    code = "import sys; sys.version_info = (3, 9, 2); import deploy.packages.install"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed")
    assert "make PYTHON=" in done.stderr
