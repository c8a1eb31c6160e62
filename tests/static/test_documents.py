"""What the documents say about the code is true, and their links work."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import gateway.shared.errors  # noqa: F401  # with further classes
from engine.settings import Settings as EngineSettings
from gateway import __version__
from gateway.errors import GatewayError, NotServed
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from gateway.settings import Settings as GatewaySettings
from tests.processes import ROOT
from tests.static.checkers import repository_files
from tests.unit.gateway.test_imports import HEIGHT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
GATEWAY = (ROOT / "services/gateway/README.md").read_text()
ROOTS = (ROOT, ROOT / "services/gateway/gateway")
ENGINE = (ROOT / "services/engine/README.md").read_text()
PAGES = [path for path in repository_files("*.md") if "template" not in path.name]
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# Only logged: the client has disconnected.
UNSEEN_STATUS = 499


def prose(path: Path) -> str:
    return FENCED.sub("", path.read_text())


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub derives from the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(path))
    }


def rows(document: str, heading: str, table: int = 0) -> list[list[str]]:
    """The cells of one table below the heading, the first by default, without its header."""
    section = document.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"(?:^\|.*\n)+", section + "\n", re.MULTILINE)[table].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def variables(settings: type[GatewaySettings] | type[EngineSettings]) -> dict[str, object]:
    """The settings' variables with their defaults."""
    prefix, defaults = settings.model_config["env_prefix"], settings()
    return {
        str(field.validation_alias or f"{prefix}{name.upper()}"): getattr(defaults, name)
        for name, field in settings.model_fields.items()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_works(page: Path) -> None:
    dead = []
    for target, anchor in LINK.findall(prose(page)):
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append(f"{target}#{anchor}")
    assert not dead


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize(("document", "settings"), [(GATEWAY, GatewaySettings), (ENGINE, EngineSettings)])
def test_every_setting_is_in_the_table_once_with_its_default(
    monkeypatch: pytest.MonkeyPatch,
    document: str,
    settings: type[GatewaySettings] | type[EngineSettings],
) -> None:
    table = [(row[0].strip("`"), row[1]) for row in rows(document, "Settings")]
    defaults = variables(settings)
    assert sorted(name for name, _ in table) == sorted(defaults)
    assert {name for name, default in table if not default} == {
        name for name, default in defaults.items() if default in ("", None)
    }
    for name, default in table:
        # Words instead of a value describe how the default is chosen.
        if default.startswith("`"):
            monkeypatch.setenv(name, default.strip("`"))
    assert variables(settings) == defaults


def test_every_error_code_is_in_the_table_once_for_each_of_its_statuses() -> None:
    table = [
        (status, code)
        for row in rows(GATEWAY, "Errors")
        for code in quoted(row[1])
        for status in row[0].split(", ")
    ]
    assert Counter(table) == Counter(set(table))
    codes = {code for _, code in table}
    assert codes == set(codes_of_the_gateway()) | set(codes_of_nginx())
    assert {(str(status), code) for code, status in codes_of_the_gateway().items()} <= set(table)


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def codes_of_the_gateway() -> dict[str, int]:
    errors = [
        error for error in leaves(GatewayError) if error.status != UNSEEN_STATUS and error is not NotServed
    ]
    asked = {error.code: error.status for error in (NotServed("", 404), NotServed("", 405))}
    return {error.code: error.status for error in errors} | asked


def leaves(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield error
    for child in error.__subclasses__():
        yield from leaves(child)


def codes_of_nginx() -> list[str]:
    files = [path.read_text() for path in repository_files("nginx")]
    return [
        code for text in files for code in re.findall(r"^\s*set \$sluice_code (\w+);$", text, re.MULTILINE)
    ]


def test_every_route_is_in_the_table() -> None:
    listed = {
        re.sub(r"\{.*?\}", "{}", path)
        for row in rows(GATEWAY, "API")
        for path in re.findall(r"/[^\s`]*", row[0])
    }
    served = {re.sub(r"\{.*?\}", "{}", route.path) for route in (CHAT_ROUTE, *PASSED_ON)}
    assert served <= listed


def test_every_make_command_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE)
    }
    assert named <= targets


def test_all_parts_have_the_same_version() -> None:
    released = re.findall(
        r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    engine = tomllib.loads((ROOT / "services/engine/pyproject.toml").read_text())["project"]["version"]
    images = re.findall(r"image: sluice-(?:gateway|engine):(\S+)", (ROOT / "compose.yaml").read_text())
    assert {__version__, engine, *images} == {released[0]}


def test_dependabot_updates_every_lock_file_and_image() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    updated = {
        update["package-ecosystem"]: update.get("directories", [update.get("directory")])
        for update in updates
    }
    for ecosystem, pattern in (("pip", "**/requirements.txt"), ("docker", "**/Dockerfile")):
        folders = {f"/{path.parent.relative_to(ROOT)}" for path in repository_files(f":(glob){pattern}")}
        assert set(updated[ecosystem]) == folders


def test_contributing_lists_the_gateways_packages_in_the_order_of_their_imports() -> None:
    listed = [set(quoted(row[0])) for row in rows(CONTRIBUTING, "Where things go", table=1)]
    height = {room: number for number, rooms in enumerate(reversed(listed)) for room in rooms}
    assert height.keys() == HEIGHT.keys()
    for lower in height:
        for upper in height:
            assert HEIGHT[lower] >= HEIGHT[upper] or height[lower] <= height[upper], (lower, upper)


def test_every_file_that_contributing_names_exists_unless_it_is_new() -> None:
    cells = "\n".join(row[1] for row in rows(CONTRIBUTING, "Where things go", table=2))
    named, new = set(quoted(cells)), set(re.findall(r"`(\S+)` \(new\)", cells))
    assert named - new
    assert {name for name in named - new if not any((root / name).exists() for root in ROOTS)} == set()
