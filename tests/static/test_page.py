"""The page is small, needs nobody else's server, and never turns text into HTML or code."""

import re
from pathlib import Path

import pytest

from tests.processes import ROOT

PAGE = ROOT / "services/page"
SERVED = sorted(path for path in PAGE.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"})
MOST_BYTES = 60_000

# What turns text into HTML or code, or what the content policy would block.
FORBIDDEN = {
    "HTML from text": r"innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|parseFromString"
    r"|createContextualFragment|document\.write|srcdoc",
    "code from text": r"\beval\s*\(|new Function\b|set(?:Timeout|Interval)\(\s*[\"'`]|javascript:",
    "an inline handler": r"<[^>]*\son\w+\s*=",
    "an inline style": r"<style\b|<[^>]*\sstyle\s*=|setAttribute\(\s*[\"']style",
    "an inline script": r"<script\b(?![^>]*\bsrc=)",
}
# In SVG, a name that is never fetched.
NAMESPACE = "http://www.w3.org/2000/svg"
COMMENT = re.compile(r"/\*.*?\*/|^\s*//[^\n]*", re.DOTALL | re.MULTILINE)
ADDRESS = re.compile(r"(?:https?|wss?)://(?!localhost\b)[^\s\"')]*|[\"'(]//\w|[\"'(]data:|@import\b")


def test_the_page_has_its_files() -> None:
    assert {"index.html", "app.js", "sluice.js", "style.css", "icon.svg"} <= {path.name for path in SERVED}


def test_all_of_the_page_is_under_60_kb() -> None:
    assert sum(path.stat().st_size for path in SERVED) < MOST_BYTES


@pytest.mark.parametrize("what", FORBIDDEN)
@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
def test_no_file_contains(path: Path, what: str) -> None:
    assert re.findall(FORBIDDEN[what], path.read_text(), re.IGNORECASE) == []


@pytest.mark.parametrize("path", SERVED, ids=lambda path: path.name)
def test_no_file_names_another_host(path: Path) -> None:
    text = COMMENT.sub("", path.read_text()).replace(NAMESPACE, "")
    assert ADDRESS.findall(text) == []
