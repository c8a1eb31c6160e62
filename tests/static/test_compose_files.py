"""compose.yaml follows Compose's specification, and the linter finds no weakness in it."""

import json
from pathlib import Path

import pytest

from tests.static import composition
from tests.static.checkers import assert_content, repository_files

COMPOSE_LINT = Path(__file__).with_name("compose-lint.yaml")


def test_every_compose_file_follows_the_specification() -> None:
    files = repository_files("compose*.yaml", "deploy/compose/*.yaml")
    assert composition.COMPOSE in files
    assert_content("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


@pytest.mark.parametrize("settings", [{"TLS": "off"}, {"TLS": "on"}, {"OLLAMA_URLS": "http://gpu1:11434"}])
def test_compose_lint_finds_only_accepted_issues(settings: dict[str, str], tmp_path: Path) -> None:
    # As one document: the linter does not follow a reference to another file that contains a variable.
    whole = tmp_path / "compose.yaml"
    whole.write_text(json.dumps(composition.composition(settings), indent=1))
    assert_content(
        "compose-lint", "check", "--quiet", "--fail-on", "low", "--skip-suppressed", "--strict-config",
        "--config", COMPOSE_LINT, whole,
    )  # fmt: skip
