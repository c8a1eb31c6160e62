"""Modules, tests included, are small, and named for what they own."""

from tests.processes import ROOT
from tests.static.checkers import repository_files

MOST_LINES = 300
# Anything fits under such a name.
NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"})
MODULES = [path.relative_to(ROOT) for path in repository_files("*.py")]


def test_no_module_is_too_long() -> None:
    assert {path.parts[0] for path in MODULES} == {"deploy", "services", "tests"}
    assert [path for path in MODULES if len((ROOT / path).read_text().splitlines()) > MOST_LINES] == []


def test_every_module_is_named_for_what_it_owns() -> None:
    assert [path for path in MODULES if NAMELESS & {path.stem, *path.parts}] == []
