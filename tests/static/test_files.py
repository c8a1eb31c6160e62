"""Dockerfiles, shell scripts and YAML pass their linters."""

import re
from pathlib import Path

from tests.static.checkers import assert_content, repository_files

SHELL = re.compile(rb"#!\s*\S*/(env\s+)?(ba|da|k)?sh\b")
YAMLLINT = Path(__file__).with_name("yamllint.yaml")


def _is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".sh" or SHELL.match(file.readline()) is not None


def test_hadolint_accepts_the_dockerfiles() -> None:
    dockerfiles = repository_files(":(glob)**/Dockerfile", ":(glob)**/*.Dockerfile")
    assert dockerfiles
    assert_content("hadolint", "--no-color", "--failure-threshold", "style", *dockerfiles)


def test_shellcheck_accepts_the_shell_scripts() -> None:
    scripts = [path for path in repository_files() if _is_shell_script(path)]
    assert scripts
    assert_content("shellcheck", "--color=never", "--enable=check-unassigned-uppercase", *scripts)


def test_yamllint_accepts_the_yaml_files() -> None:
    documents = repository_files("*.yaml", "*.yml")
    assert documents
    assert_content("yamllint", "--strict", "--format", "parsable", "--config-file", YAMLLINT, *documents)
